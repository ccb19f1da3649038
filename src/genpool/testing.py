"""What tests of genpool, and of what is built on it, are made with.

`ScriptedModel` answers from a script. `StoreContract` holds the contract of a `GenerationStore` as
tests that any store can inherit:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def place(self) -> Iterator[StorePlace]: ...

The tests look at what was kept through a `StorePlace`, whose raw access bypasses the store under test.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from genpool.canonical import sha256
from genpool.errors import CorruptGeneration, GenpoolError, NotFound
from genpool.gen_ids import gen_id
from genpool.layout import METADATA, PARSED, PROMPT, RAW
from genpool.llm.scripted import ScriptedModel
from genpool.records import MODE_LLM, PROMOTED, Reason, Record, encode_sealed
from genpool.signatures import Signature
from genpool.stages import DEFAULT_PIPELINE
from genpool.store import Attempt, Generation, GenerationStore, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

__all__ = ["ScriptedModel", "StoreContract", "StorePlace", "sample_generation"]

Key = tuple[str, ...]
"""Where raw bytes are: `("gens", stage, gen_id, file)`, `("attempts", stage, gen_id, number, file)`, or
`("sources", digest)`."""

_DRAFT: Final = DEFAULT_PIPELINE["draft"]
_TRUNCATED: Final = Reason("truncated", "the answer was cut off")
_WRITERS: Final = 8


class StorePlace(Protocol):
    """A place where a store keeps what it is given, and raw access to it that bypasses the store."""

    salt: str
    """The salt that its stores check ids with."""

    def open(self) -> AbstractContextManager[GenerationStore]:
        """Open a store on this place, ready to write; a second one sees what the first one kept."""
        ...

    def put(self, key: Key, data: bytes) -> None:
        """Put bytes behind the store's back, over what is there."""
        ...

    def read(self, key: Key) -> bytes:
        """Return the bytes under a key.

        Raises:
            LookupError: There are none.
        """
        ...

    def names(self, key: Key) -> frozenset[str]:
        """Return the names directly below a key; none where there is nothing."""
        ...


def sample_generation(
    text: str = "A text.", *, replicate: int = 1, salt: str = "", raw: str | None = None
) -> Generation:
    """Return a generation that any store must be able to keep.

    Args:
        text: Its parsed text.
        replicate: Its replicate: another one is another id.
        salt: The salt of its id.
        raw: Its raw text; the parsed text where it is not given.
    """
    fields = {"combo_id": "combo-1", "template_id": "plain", "llm_model_id": "writer", "replicate": replicate}
    signature = Signature.of(_DRAFT, fields)
    texts = {"prompt": "Write.", "raw": text if raw is None else raw, "parsed": text}
    record = Record(
        signature=signature,
        gen_id=gen_id(signature, salt),
        origin_cohort_id="cohort-1",
        run_id="run-1",
        created_at="2026-01-01T00:00:00.000Z",
        mode=MODE_LLM,
        fingerprints={name: sha256(one.encode()) for name, one in texts.items()},
        call={"seed": 1, "finish_reason": "stop"},
        parser="text",
    )
    return Generation(record, texts)


class StoreContract:
    """What every `GenerationStore` must do. A subclass gives a fixture `place`: a new `StorePlace`."""

    def sample(self, place: StorePlace, text: str = "A text.", replicate: int = 1) -> Generation:
        """Return a generation with an id of this place."""
        return sample_generation(text, replicate=replicate, salt=place.salt)

    # -- visible means complete --------------------------------------------------------------------

    def test_what_was_committed_is_read_back(self, place: StorePlace) -> None:
        """A committed generation is there whole, for another store on the same place too."""
        made = self.sample(place)
        with place.open() as store:
            assert store.commit(made) is True
        with place.open() as other:
            assert other.record(_DRAFT, made.gen_id) == made.record
            assert {name: other.text(made.record, name) for name in made.texts} == dict(made.texts)

    def test_a_generation_is_files_that_a_person_can_read(self, place: StorePlace) -> None:
        """The raw bytes are the texts themselves and one JSON object."""
        made = self.sample(place, "Grüße, 世界")
        with place.open() as store:
            store.commit(made)
        folder = ("gens", "draft", made.gen_id)
        assert place.names(folder) == {METADATA, PROMPT, RAW, PARSED}
        assert place.read((*folder, PARSED)) == "Grüße, 世界".encode()
        metadata = orjson.loads(place.read((*folder, METADATA)))
        assert (metadata["gen_id"], metadata["combo_id"], metadata["replicate"]) == (made.gen_id, "combo-1", 1)

    def test_texts_are_kept_to_the_byte(self, place: StorePlace) -> None:
        """Line ends, white space, zero bytes, rare characters and long texts come back as they were."""
        texts = [
            "one\r\ntwo\rthree\nfour\n",
            "\n",
            "",
            "\ufeffmark first",
            "é versus e\u0301",
            "\u2028\u2029\x85\x0b\x0c\x1c",
            "a\x00b",
            "\U0001f642" * 1000,
            "0123456789abcdef" * 200_000,
        ]
        with place.open() as store:
            for number, text in enumerate(texts, start=1):
                made = self.sample(place, text, replicate=number)
                assert store.commit(made)
                assert store.text(store.record(_DRAFT, made.gen_id)) == text, f"text {number}"
                assert place.read(("gens", "draft", made.gen_id, PARSED)) == text.encode()

    def test_what_is_not_there_is_not_found(self, place: StorePlace) -> None:
        """A missing generation, text or source is `NotFound`; asking for lists of nothing gives nothing."""
        made = self.sample(place)
        copied = Generation(replace(made.record, mode="copy"), {"parsed": "A text."})
        with place.open() as store:
            assert isinstance(_refusal(lambda: store.record(_DRAFT, made.gen_id)), NotFound)
            assert isinstance(_refusal(lambda: store.text(made.record)), NotFound)
            assert isinstance(_refusal(lambda: store.source("0" * 64)), NotFound)
            assert store.listed(_DRAFT) == store.attempted(_DRAFT) == frozenset()
            assert store.attempts(_DRAFT, made.gen_id) == ()
            store.commit(copied)
            assert isinstance(_refusal(lambda: store.text(copied.record, "raw")), NotFound)

    # -- never overwritten -------------------------------------------------------------------------

    def test_the_second_writer_of_an_id_loses_and_its_output_is_kept(self, place: StorePlace) -> None:
        """What is there stays to the byte; the other output becomes an attempt `bought_twice`."""
        first, second = self.sample(place, "first"), self.sample(place, "second")
        with place.open() as store:
            assert store.commit(first) is True
            before = self._files(place, "gens", "draft", first.gen_id)
            assert store.commit(second) is False
            assert self._files(place, "gens", "draft", first.gen_id) == before
            assert [one.reason.kind for one in store.attempts(_DRAFT, first.gen_id)] == ["bought_twice"]
        assert place.read(("attempts", "draft", first.gen_id, "1", PARSED)) == b"second"

    def test_of_writers_at_the_same_time_exactly_one_wins(self, place: StorePlace) -> None:
        """One id committed from many threads: one wins, and every other output is kept."""
        rivals = [self.sample(place, f"text {number}") for number in range(_WRITERS)]
        with place.open() as store, ThreadPoolExecutor(_WRITERS) as threads:
            won = list(threads.map(store.commit, rivals))
            assert won.count(True) == 1
            kept = store.text(store.record(_DRAFT, rivals[0].gen_id))
            assert kept == rivals[won.index(True)].text
            reasons = [one.reason.kind for one in store.attempts(_DRAFT, rivals[0].gen_id)]
        assert reasons == ["bought_twice"] * (_WRITERS - 1)
        assert {kept} | self._attempted_texts(place, rivals[0].gen_id) == {one.text for one in rivals}

    # -- kept together -----------------------------------------------------------------------------

    def test_outputs_that_are_kept_together_become_each_what_it_is(self, place: StorePlace) -> None:
        """Generations, attempts, a second writer's output and sources, in one call, in the order given."""
        made = [self.sample(place, f"text {number}", replicate=number) for number in (1, 2, 3)]
        source = b"what the first two were made from"
        digest = sha256(source)
        outputs = [
            Output(made[0], sources={digest: source}),
            Output(made[1], _TRUNCATED, sources={digest: source}),
            Output(made[2]),
            Output(self.sample(place, "second", replicate=1)),
        ]
        with place.open() as store:
            kept = store.keep(outputs)
            assert [one and isinstance(one, Attempt) and one.reason.kind for one in kept] == [
                None,
                "truncated",
                None,
                "bought_twice",
            ]
        with place.open() as other:
            assert other.listed(_DRAFT) == {made[0].gen_id, made[2].gen_id}
            assert other.text(other.record(_DRAFT, made[0].gen_id)) == "text 1"
            assert other.source(digest) == source
            assert other.attempted(_DRAFT) == {made[0].gen_id, made[1].gen_id}

    def test_nothing_kept_together_is_nothing(self, place: StorePlace) -> None:
        """A group may be empty, and a source may be there already."""
        with place.open() as store:
            assert store.keep([]) == []
            digest = store.put_source(b"a source")
            assert store.keep([Output(self.sample(place), sources={digest: b"a source"})]) == [None]
            assert store.source(digest) == b"a source"

    # -- attempts ----------------------------------------------------------------------------------

    def test_attempts_are_numbered_and_kept_with_their_reason(self, place: StorePlace) -> None:
        """Output that is not a generation is kept in order, fills no slot, and is listed."""
        made = self.sample(place)
        cut = Generation(made.record, {"prompt": "Write.", "raw": "A te"})
        with place.open() as store:
            numbers = [store.keep_attempt(cut, reason).number for reason in (_TRUNCATED, Reason("empty", "nothing"))]
            assert numbers == [1, 2]
            assert store.attempted(_DRAFT) == {made.gen_id}
            assert store.listed(_DRAFT) == frozenset()
        with place.open() as other:
            kept = other.attempts(_DRAFT, made.gen_id)
            assert [(one.number, one.reason.kind) for one in kept] == [(1, "truncated"), (2, "empty")]
            assert kept[0].reason == _TRUNCATED
            assert other.commit(made) is True
        assert place.read(("attempts", "draft", made.gen_id, "1", RAW)) == b"A te"

    def test_attempts_at_the_same_time_get_numbers_of_their_own(self, place: StorePlace) -> None:
        """Attempts kept from many threads do not take each other's place, and none is lost."""
        outputs = [self.sample(place, f"text {number}") for number in range(_WRITERS)]
        with place.open() as store, ThreadPoolExecutor(_WRITERS) as threads:
            kept = list(threads.map(lambda one: store.keep_attempt(one, _TRUNCATED).number, outputs))
        assert sorted(kept) == list(range(1, _WRITERS + 1))
        assert self._attempted_texts(place, outputs[0].gen_id) == {one.text for one in outputs}

    def test_an_attempt_is_read_back_with_what_was_bought(self, place: StorePlace) -> None:
        """Record and texts of an attempt come back; a damaged one, and what is no attempt at this task, is refused."""
        made = self.sample(place)
        texts = {"prompt": "Write.", "raw": "A text."}
        prints = {name: sha256(one.encode()) for name, one in texts.items()}
        cut = Generation(replace(made.record, fingerprints=prints), texts)
        with place.open() as store:
            for _ in range(3):
                store.keep_attempt(cut, _TRUNCATED)
        folder = ("attempts", "draft", made.gen_id)
        place.put((*folder, "2", RAW), b"edited")
        place.put((*folder, "3", METADATA), made.record.encode())
        with place.open() as other:
            assert other.output(_DRAFT, made.gen_id, 1) == cut
            for number in (2, 3):
                error = _refusal(lambda number=number: other.output(_DRAFT, made.gen_id, number))  # type: ignore[misc]
                assert isinstance(error, CorruptGeneration)
            assert isinstance(_refusal(lambda: other.output(_DRAFT, made.gen_id, 4)), NotFound)

    def test_an_attempt_that_is_promoted_is_kept_once(self, place: StorePlace) -> None:
        """It takes its place as a generation does, and is an attempt no more; another's place is left alone."""
        made = self.sample(place)
        promoted = Generation(replace(made.record, extra={PROMOTED: {"attempt": 1}}), made.texts)
        with place.open() as store:
            store.keep_attempt(made, _TRUNCATED)
            store.keep_attempt(self.sample(place, "another text"), _TRUNCATED)
            assert isinstance(_refusal(lambda: store.consume(promoted.record, 1)), NotFound)
            assert store.promote(promoted) is True
            assert store.promote(promoted) is False
            store.consume(promoted.record, 1)
            assert isinstance(_refusal(lambda: store.consume(promoted.record, 2)), CorruptGeneration)
        with place.open() as other:
            assert other.record(_DRAFT, made.gen_id) == promoted.record
            assert [one.number for one in other.attempts(_DRAFT, made.gen_id)] == [2]

    # -- what some other tool left incomplete ------------------------------------------------------

    def test_what_is_incomplete_is_listed_but_told_apart(self, place: StorePlace) -> None:
        """Metadata without text and text without metadata are incomplete; a whole generation is not."""
        whole, no_text, no_record = (self.sample(place, replicate=number) for number in (1, 2, 3))
        with place.open() as store:
            store.commit(whole)
            place.put(("gens", "draft", no_text.gen_id, METADATA), no_text.record.encode())
            place.put(("gens", "draft", no_record.gen_id, PARSED), b"A text.")
            listed = store.listed(_DRAFT)
            assert listed == {whole.gen_id, no_text.gen_id, no_record.gen_id}
            assert store.incomplete(_DRAFT, listed) == {no_text.gen_id, no_record.gen_id}
            assert store.incomplete(_DRAFT, [whole.gen_id]) == frozenset()

    def test_what_is_incomplete_is_kept_when_its_slot_is_filled(self, place: StorePlace) -> None:
        """It is neither reused nor deleted: it moves among the attempts, and a new generation takes its place."""
        made = self.sample(place, "new")
        place.put(("gens", "draft", made.gen_id, RAW), b"left behind")
        with place.open() as store:
            assert store.commit(made) is True
            assert store.text(store.record(_DRAFT, made.gen_id), "raw") == "new"
            assert store.incomplete(_DRAFT, [made.gen_id]) == frozenset()
            assert [one.reason.kind for one in store.attempts(_DRAFT, made.gen_id)] == ["incomplete"]
        assert place.read(("attempts", "draft", made.gen_id, "1", RAW)) == b"left behind"

    def test_writers_who_find_an_incomplete_slot_at_the_same_time_lose_nothing(self, place: StorePlace) -> None:
        """One clears the slot and wins; no other takes the winner's generation for what was incomplete."""
        for round_number in range(1, 11):
            rivals = [self.sample(place, f"text {number}", round_number) for number in range(_WRITERS)]
            name = rivals[0].gen_id
            place.put(("gens", "draft", name, RAW), b"left behind")
            with place.open() as store, ThreadPoolExecutor(_WRITERS) as threads:
                won = list(threads.map(store.commit, rivals))
                assert won.count(True) == 1, f"{won.count(True)} writers won"
                assert store.text(store.record(_DRAFT, name)) == rivals[won.index(True)].text
                reasons = sorted(one.reason.kind for one in store.attempts(_DRAFT, name))
            assert reasons == ["bought_twice"] * (_WRITERS - 1) + ["incomplete"]

    # -- identity is checked -----------------------------------------------------------------------

    def test_a_renamed_generation_is_refused(self, place: StorePlace) -> None:
        """Whole files under another id are not that id's generation."""
        made, other = self.sample(place), self.sample(place, replicate=2)
        with place.open() as store:
            store.commit(made)
            for name, data in self._files(place, "gens", "draft", made.gen_id).items():
                place.put(("gens", "draft", other.gen_id, name), data)
            error = _refusal(lambda: store.record(_DRAFT, other.gen_id))
            assert isinstance(error, CorruptGeneration)
            assert made.gen_id in error.message
            assert store.record(_DRAFT, made.gen_id) == made.record

    def test_edited_metadata_is_refused(self, place: StorePlace) -> None:
        """An edit, a cut, another kind of record and bytes that are no JSON are noticed on read."""
        made = self.sample(place)
        key = ("gens", "draft", made.gen_id, METADATA)
        with place.open() as store:
            store.commit(made)
            right = place.read(key)
            edits = {
                "edited": right.replace(b"cohort-1", b"cohort-2"),
                "cut": right[: len(right) // 2],
                "empty": b"",
                "no object": b"[]\n",
                "no UTF-8": right.replace(b"cohort-1", b"cohort\xff1"),
                "an attempt's": made.record.encode_attempt(_TRUNCATED),
                "another signature, sealed anew": encode_sealed({**made.record.as_json(), "replicate": 2}),
                "another stage, sealed anew": encode_sealed({**made.record.as_json(), "stage": "essay"}),
            }
            for what, data in edits.items():
                assert data != right
                place.put(key, data)
                assert isinstance(_refusal(lambda: store.record(_DRAFT, made.gen_id)), CorruptGeneration), what
            place.put(key, right)
            assert store.record(_DRAFT, made.gen_id) == made.record

    def test_an_edited_text_is_refused(self, place: StorePlace) -> None:
        """Each text is checked against the digest that was committed with it."""
        made = self.sample(place)
        with place.open() as store:
            store.commit(made)
            for name, file in (("prompt", PROMPT), ("raw", RAW), ("parsed", PARSED)):
                key = ("gens", "draft", made.gen_id, file)
                for data in (place.read(key) + b"\n", b"", b"\xff"):
                    place.put(key, data)
                    error = _refusal(lambda name=name: store.text(made.record, name))  # type: ignore[misc]
                    assert isinstance(error, CorruptGeneration), file
                assert store.record(_DRAFT, made.gen_id) == made.record

    # -- sources -----------------------------------------------------------------------------------

    def test_sources_are_named_by_their_content(self, place: StorePlace) -> None:
        """The same bytes are kept once under their SHA-256; a damaged one is refused."""
        with place.open() as store:
            digest = store.put_source(b"a template\r\n")
            assert digest == sha256(b"a template\r\n")
            assert store.put_source(b"a template\r\n") == digest
            assert store.put_source(b"") == sha256(b"")
        with place.open() as other:
            assert other.put_source(b"a template\r\n") == digest
            assert other.source(digest) == b"a template\r\n"
            assert place.names(("sources",)) == {digest, sha256(b"")}
            place.put(("sources", digest), b"another template\n")
            assert isinstance(_refusal(lambda: other.source(digest)), CorruptGeneration)

    # -- helpers -----------------------------------------------------------------------------------

    def _files(self, place: StorePlace, *key: str) -> Mapping[str, bytes]:
        return {name: place.read((*key, name)) for name in place.names(key)}

    def _attempted_texts(self, place: StorePlace, name: str) -> set[str]:
        folder = ("attempts", "draft", name)
        return {place.read((*folder, number, PARSED)).decode() for number in place.names(folder)}


def _refusal(call: Callable[[], object]) -> GenpoolError | None:
    """Return the error that a call raises, or None where it succeeds."""
    try:
        call()
    except GenpoolError as error:
        return error
    return None
