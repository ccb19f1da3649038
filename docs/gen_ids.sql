-- The id function `genpool/1` in SQL (DuckDB), for values that are valid: SQL computes ids, it does not judge values.
-- docs/identity.md says what is computed and why; tests/golden/test_ids_in_sql.py holds these macros to the golden ids.

-- A text as canonical JSON has it. A valid value has no control characters, so two escapes are all there is.
CREATE OR REPLACE MACRO json_text(value VARCHAR) AS
    '"' || replace(replace(value, '\', '\\'), '"', '\"') || '"';

-- The canonical text of any signature: `fields` is a map of its text fields, axes of your own included. Members are
-- sorted as a whole: what follows a name, a quotation mark, sorts before all that a longer name could go on with.
CREATE OR REPLACE MACRO canonical_text(
    stage VARCHAR, fields MAP(VARCHAR, VARCHAR), replicate BIGINT, salt VARCHAR := ''
) AS
    '{' || array_to_string(list_sort(list_concat(
        list_transform(map_entries(fields), lambda one: json_text(one.key) || ':' || json_text(one.value)),
        ['"replicate":' || replicate, '"scheme":"genpool/1"', '"stage":' || json_text(stage)],
        if(salt = '', [], ['"salt":' || json_text(salt)])
    )), ',') || '}';

CREATE OR REPLACE MACRO gen_id(
    prefix VARCHAR, stage VARCHAR, fields MAP(VARCHAR, VARCHAR), replicate BIGINT, salt VARCHAR := ''
) AS
    prefix || '_' || left(sha256(canonical_text(stage, fields, replicate, salt := salt)), 32);

-- The stages of the default pipeline in a pool without a salt: the same text, its members in order, without a map.
CREATE OR REPLACE MACRO draft_id(combo_id VARCHAR, template_id VARCHAR, llm_model_id VARCHAR, replicate BIGINT) AS
    'd_' || left(sha256(
        '{"combo_id":' || json_text(combo_id) || ',"llm_model_id":' || json_text(llm_model_id)
        || ',"replicate":' || replicate || ',"scheme":"genpool/1","stage":"draft","template_id":'
        || json_text(template_id) || '}'), 32);

CREATE OR REPLACE MACRO essay_id(parent_gen_id VARCHAR, template_id VARCHAR, replicate BIGINT) AS
    'e_' || left(sha256(
        '{"parent_gen_id":' || json_text(parent_gen_id) || ',"replicate":' || replicate
        || ',"scheme":"genpool/1","stage":"essay","template_id":' || json_text(template_id) || '}'), 32);

CREATE OR REPLACE MACRO evaluation_id(
    parent_gen_id VARCHAR, template_id VARCHAR, llm_model_id VARCHAR, replicate BIGINT
) AS
    'v_' || left(sha256(
        '{"llm_model_id":' || json_text(llm_model_id) || ',"parent_gen_id":' || json_text(parent_gen_id)
        || ',"replicate":' || replicate || ',"scheme":"genpool/1","stage":"evaluation","template_id":'
        || json_text(template_id) || '}'), 32);

-- The id of a combo of concepts, given in any order.
CREATE OR REPLACE MACRO combo_id_of(concepts VARCHAR[], level VARCHAR) AS
    'combo_' || left(sha256(
        '{"concepts":[' || array_to_string(list_transform(list_sort(concepts), lambda one: json_text(one)), ',')
        || '],"kind":"concepts","level":' || json_text(level) || ',"scheme":"genpool/1"}'), 20);
