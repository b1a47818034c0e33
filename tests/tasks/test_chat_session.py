"""Conversations: what is remembered, what is forgotten, and what it costs."""

import json

import pytest

import peluche
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
from peluche.tasks.engines import GeneratorConfig
from peluche.tasks.text_requests import TextRequest
from peluche.text.chat import CHATML, TURN, TURN_END, Message
from peluche.text.tokenizer import TokenizerConfig
from talking import TOKENIZER, make_run

OPTIONS = {"max_tokens": 6, "temperature": 1.0, "seed": 1}
SMALL = GeneratorConfig.parse({"block_size": 4, "engine": {"running": 2, "step_tokens": 16}})


@pytest.fixture(scope="module")
def completer(tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("runs") / "talks", positions="learned", max_length=120)
    return peluche.load(str(path))


@pytest.fixture
def session(completer):
    return completer.chat("Be.", generator=completer.start_generator(SMALL), **OPTIONS)


def said(session):
    return [(one.role, one.content) for one in session.messages]


def test_a_turn_is_what_the_template_and_the_generator_make_of_it(completer, session):
    answer = session.say("Hi")
    prompt = f"{TURN}system\nBe.{TURN_END}\n{TURN}user\nHi{TURN_END}\n{TURN}assistant\n"
    tokens = tuple(TOKENIZER.encode_special(prompt))
    request = {**OPTIONS, "prompt": tokens, "top_p": 0.9, "stop_tokens": session.form.ends}
    (expected,) = completer.generate([TextRequest.flat(request)])
    assert answer == expected.text
    assert said(session) == [("user", "Hi"), ("assistant", answer)]


def test_the_second_turn_reads_only_what_is_new(session):
    counters = session.generator.engine.counters
    session.say("What is the bear reading? " * 2)
    before = counters.read
    *_, last = session.ask("And?")
    written = len(last.result.tokens)
    # All but the end of the answer, whose last token was not read, and unfinished blocks.
    assert counters.cached >= last.result.prompt_tokens - 40
    assert counters.read - before <= 40 + written


def test_equal_conversations_are_equal_and_another_try_is_not(completer):
    one, other = (completer.chat(**OPTIONS) for _ in range(2))
    assert one.say("Hi") == other.say("Hi")
    first = one.messages[-1].content
    again = "".join(piece.text for piece in one.retry())
    assert again != first
    assert said(one) == [("user", "Hi"), ("assistant", again)]
    edited = "".join(piece.text for piece in one.edit("Ho"))
    assert said(one) == [("user", "Ho"), ("assistant", edited)]
    assert one.undo() == "Ho"
    assert said(one) == []
    for again in (one.retry, lambda: one.edit("x")):
        with pytest.raises(DataError, match="nothing was said"):
            list(again())


def test_an_answer_that_is_broken_off_is_remembered_as_far_as_it_came(session):
    session.set(max_tokens=30, logit_bias=dict.fromkeys(session.form.ends, -100))
    pieces = session.ask("Hi")
    shown = ""
    while len(shown) < 4:
        shown += next(pieces).text
    pieces.close()
    assert session.messages[-1].content.startswith(shown)
    assert len(session.messages) == 2
    session.say("Go on")
    # Before anything was said, nothing is remembered.
    pieces = session.ask("x" * 60)
    next(pieces)
    pieces.close()
    assert len(session.messages) == 4


def test_old_turns_are_forgotten_when_the_context_is_full(session):
    asked = [f"{number} bear bear bear" for number in range(12)]
    for text in asked:
        *_, last = session.ask(text)
        assert last.result.prompt_tokens + len(last.result.tokens) <= 120
    # All is there; the model sees the end of it, which begins with a question.
    assert [one.content for one in session.messages[::2]] == asked
    assert session.forgotten >= 2
    assert session.forgotten % 2 == 0
    shown = session.messages[session.forgotten :]
    tokens = session.form.encode([Message(role="system", content="Be."), *shown])
    assert len(tokens) <= 120


def test_forgetting_waits_until_it_has_to(session):
    forgotten = []
    for number in range(14):
        session.say(f"{number} bear bear")
        forgotten.append(session.forgotten)
    # By half a context at a time, so that most turns find what was read before.
    assert len(set(forgotten)) < 6


@pytest.mark.parametrize("policy", ["error", "slide", "truncate"])
def test_a_message_that_is_too_long(session, policy):
    session.set(on_overflow=policy)
    session.say("Hi")
    before = said(session)
    text = "zqj" * 80
    if policy == "truncate":
        *_, last = session.ask(text + "END")
        prompt = TOKENIZER.decode(last.result.request.prompt, skip_special=False)
        # It keeps its end, and what is remembered is whole.
        assert prompt.endswith(f"zqjEND{TURN_END}\n{TURN}assistant\n")
        assert last.result.prompt_tokens <= 114
        assert session.messages[-2].content == text + "END"
    else:
        with pytest.raises(DataError, match="context of 120"):
            session.say(text)
        assert said(session) == before
        assert session.forgotten == 0
        session.say("Ho")


def test_a_long_conversation_may_be_refused(session):
    session.set(on_overflow="error")
    for number in range(2):
        session.say(f"{number} bear bear bear")
    before = said(session)
    with pytest.raises(DataError, match="this conversation is"):
        session.say("bear " * 25)
    assert said(session) == before


def test_a_retry_that_fails_loses_nothing(session):
    session.say("Hi")
    before = said(session)
    with pytest.raises(DataError):
        list(session.edit("zqj" * 80))
    assert said(session) == before


def test_an_edit_that_is_broken_off_at_once_loses_nothing(session):
    session.say("Hi")
    before = said(session)
    pieces = session.edit("x" * 60)
    assert next(pieces).text == ""
    pieces.close()
    assert said(session) == before


def test_saved_and_loaded(session, tmp_path):
    session.say("Hi 🧸")
    path = tmp_path / "talk.json"
    session.save(path)
    values = json.loads(path.read_text(encoding="utf-8"))
    assert [one["role"] for one in values] == ["system", "user", "assistant"]
    before = said(session)
    session.reset()
    session.system = None
    assert said(session) == []
    session.load(path)
    assert (session.system, said(session)) == ("Be.", before)
    path.write_text("[1]")
    with pytest.raises(DataError, match="no conversation"):
        session.load(path)
    with pytest.raises(DataError, match="no conversation"):
        session.load(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be written"):
        session.save(tmp_path)
    assert said(session) == before


def test_half_a_surrogate_pair_is_refused(session, tmp_path):
    with pytest.raises(DataError, match="surrogate pair"):
        session.say("\udcff")
    assert said(session) == []
    path = tmp_path / "talk.json"
    path.write_text('[{"role": "user", "content": "\\ud800"}]')
    with pytest.raises(DataError, match="no conversation"):
        session.load(path)
    session.system = "\udcff"
    with pytest.raises(DataError, match="surrogate pair"):
        session.say("Hi")
    with pytest.raises(DataError, match="cannot be written"):
        session.save(path)


def test_settings_are_checked_before_they_are_taken(session):
    before = dict(session.options)
    for wrong, says in (({"temprature": 1}, "temprature"), ({"top_p": 2}, "top_p")):
        with pytest.raises(ConfigError, match=says):
            session.set(**wrong)
    assert session.options == before
    # Old turns may slide out: an answer as such never does.
    guide = {"kind": "choice", "choices": ["yes", "no"]}
    session.set(guide=guide)
    assert session.options["guide"] == guide
    with pytest.raises(ConfigError, match="on_overflow"):
        session.set(on_overflow="slid")


def test_a_run_that_talks_still_does_where_it_is_exported_to(tmp_path):
    llama = {"norm": "rmsnorm", "activation": "swiglu", "bias": False, "dropout": 0.0}
    ours = peluche.load(str(make_run(tmp_path / "run", **llama)))
    state, tokenizer = ours.model.state_dict(), ours.tokenizer
    export_gguf(ours.model.config, state, tokenizer, tmp_path / "x.gguf", "F32")
    export_huggingface_decoder(ours.model.config, state, tokenizer, tmp_path / "folder")
    form = ours.chat().form
    talk = [
        Message(role=role, content=f"{role}{TURN_END}") for role in ("user", "assistant", "user")
    ]
    for path in ("x.gguf", "folder"):
        theirs = peluche.load(str(tmp_path / path)).chat(**OPTIONS)
        assert theirs.form.encode(talk) == form.encode(talk)
        assert theirs.form.ends == form.ends
        assert theirs.say("Hi") == theirs.messages[-1].content
        assert theirs.generator.context == 512


def test_who_was_not_trained_to_talk(tmp_path):
    mute = TokenizerConfig(kind="byte").build(["x"])
    path = make_run(tmp_path / "mute", mute)
    with pytest.raises(ConfigError, match=r"not trained to talk[\s\S]*peluche complete"):
        peluche.load(str(path)).chat()


def test_a_damaged_template_is_said(completer, monkeypatch):
    monkeypatch.setattr(completer, "chat_source", completer.chat_source._replace(template="{% if"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        completer.chat()
    assert completer.chat_source.template != CHATML
