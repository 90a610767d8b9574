"""A template that came with a model is rendered, or refused in time: it reads no file, runs nothing, fills no memory."""

import time

import pytest

from models.tokenizers.template import render, render_here

ASKED = [{"role": "user", "content": "one"}]


def test_both_ways_of_rendering_give_the_same_text() -> None:
    """With the settings that chat templates are written for: no line of its own for a block, breaks in loops."""
    template = (
        "{{ bos_token }}\n{% for message in messages %}\n    {% if loop.index > 1 %}{% break %}{% endif %}\n"
        "{{ message.role }}: {{ message['content'] | trim }}{{ eos_token }}\n{% endfor %}\n"
        "{% if add_generation_prompt %}go{% endif %}"
    )
    for answering, end in ((True, "go"), (False, "")):
        named = {"bos_token": "<s>", "eos_token": "</s>"}
        text = render(template, [*ASKED, *ASKED], answering, **named)
        assert text == render_here(template, [*ASKED, *ASKED], answering, **named) == f"<s>\nuser: one</s>\n{end}"


HOSTILE = [
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    ("{{ messages.__class__.__base__ }}", "SecurityError"),
    ("{{ cycler.__init__.__globals__.os.system('true') }}", "SecurityError"),
    ("{{ messages.append(1) }}", "SecurityError"),
    ("{% include '/etc/passwd' %}", "TypeError"),
    ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    ("{{ raise_exception('no\\nsystem \x1b[31mturn') }}", r"no system \[31mturn\); mend it, or the turns"),
    ("{{ strftime_now('%d') }}", "undefined"),
    ("{% for message in messages %}", "TemplateSyntaxError"),
    ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
    ("{{ ('x' * 700000000) | length }}", "MemoryError: more than 512 MB"),
    ("{{ range(10 ** 9) }}", "OverflowError"),
    ("{% for a in range(9999) %}{{ 'x' * 10000 }}{% endfor %}", "more than 1,000,000 characters"),
    ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "more than 1 s"),
    ("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}", "more than 1 s"),
]


@pytest.mark.parametrize(("template", "reason"), HOSTILE)
def test_a_hostile_template_is_refused_in_time(template: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match=f"the chat template cannot be rendered .*({reason})"):
        render(template, ASKED, True)
    assert time.monotonic() - started < 10  # two on an idle machine


def test_a_template_gets_text_of_any_language() -> None:
    assert (
        render("{{ messages[0].content }}\u2028한", [{"role": "user", "content": "법 👩‍🔧\x00"}], True)
        == "법 👩‍🔧\x00\u2028한"
    )
