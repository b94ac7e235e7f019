"""Every word of the page stands in each file of locales/, and so does what the library says to visitors."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgsearch import errors
from imgsearch.config import ROOT
from imgsearch.web.i18n import DEFAULT, LANGUAGES, LOCALES

WEB = ROOT / "imgsearch" / "web"
# But for what raises errors as the library does, and what is said before there is a page.
PAGE = [path for path in sorted(WEB.rglob("*.py")) if path.stem not in ("decoder", "server")]
# What programmers read of the API, and who sets up a proxy, is English.
FOR_VISITORS = [path for path in PAGE if path.stem not in ("api", "inputs")]
SCRIPTS = [path for path in sorted(WEB.rglob("*.js")) if path.stem != "address"]
ERRORS = {name for name, thing in vars(errors).items() if isinstance(thing, type)}
# What is said to a model, not to a visitor; and what is said before there is a page.
PROMPTS = {"Describe this picture", "Décris cette image", "{} Answer in", "{} Réponds en", "This is {} {}, a type of"}
COMMAND_LINE = {"config", "environment", "remote", "share", "server"}
WORDS = LOCALES[DEFAULT]["words"]
OTHERS = [code for code in LANGUAGES if code != DEFAULT]
SHOWN = {"label", "info", "placeholder", "alt_text", "title", "submit_btn", "stop_btn"}


def text_of(node: ast.AST) -> str | None:
    """A string with {} for what is filled in; None of any other node."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
    return None


def names_of(call: ast.Call) -> set[str]:
    """The name, or names to choose from, of what is called."""
    return {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(call.func)
        if isinstance(node, ast.Attribute | ast.Name)
    }


def nodes_of(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of what no visitor reads: docstrings, the log, types, what a text is compared with."""
    types = {getattr(tree, "annotation", None), getattr(tree, "returns", None)}
    for node in ast.iter_child_nodes(tree):
        is_bare = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_logged = isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "logging."))
        if is_bare or is_logged or node in types or isinstance(node, ast.Compare | ast.Subscript):
            continue
        yield node
        if not isinstance(node, ast.JoinedStr):
            yield from nodes_of(node)
        else:  # its literal parts are no strings of their own
            for part in node.values:
                yield from nodes_of(part)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def modules_behind_the_page() -> list[Path]:
    """What the page imports, and what that imports, and so on."""
    found: set[Path] = set()
    waiting = [ROOT / "app.py", *PAGE]
    while waiting:
        for node in ast.walk(tree_of(waiting.pop())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imgsearch."):
                path = ROOT / f"{str(node.module).replace('.', '/')}.py"
                if path.is_file() and path not in PAGE and path not in found:
                    found.add(path)
                    waiting.append(path)
    return sorted(path for path in found if path.stem not in COMMAND_LINE)


def has_words(text: str) -> bool:
    letter = r"[^\W\d_]"
    return re.search(rf"{letter}{{2,}}[,;:]? {letter}|{letter}[,;:]? {letter}{{2,}}", text) is not None


def sentences_of(path: Path) -> set[str]:
    """What a module may say: each sentence, and each text in a function that makes an error of ours."""
    tree = tree_of(path)
    said = {text for node in nodes_of(tree) if (text := text_of(node)) and re.search(r"[\w)]\.( |$)", text)}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        calls = [node for node in nodes_of(function) if isinstance(node, ast.Call)]
        if any(names_of(call) & ERRORS for call in calls):
            others = [call for call in calls if any(name.endswith("Error") for name in names_of(call) - ERRORS)]
            foreign = {node for call in others for node in ast.walk(call)}
            said |= {text for node in nodes_of(function) if node not in foreign and (text := text_of(node))}
    return {text for text in said if has_words(text)}


def fields(text: str) -> list[tuple[str, str | None, str | None]]:
    """Return name, format and conversion of each field; the name of one without is its number."""
    parsed = [field for field in string.Formatter().parse(text) if field[1] is not None]
    return sorted((name or str(i), spec, conversion) for i, (_, name, spec, conversion) in enumerate(parsed))


def test_the_walk_finds_what_it_is_to_check() -> None:
    modules = {path.stem for path in modules_behind_the_page()}
    assert {"decoder", "hub", "index", "searcher", "model_manager", "registry"} <= modules and len(modules) >= 30
    assert len(PAGE) >= 25 and len(SCRIPTS) >= 7


@pytest.mark.parametrize("code", OTHERS)
def test_every_language_has_the_same_keys_and_placeholders(code: str) -> None:
    english, other = LOCALES[DEFAULT], LOCALES[code]
    assert other.keys() - {"messages"} == english.keys() and len(OTHERS) + 1 == len(LOCALES) > 1
    assert other["words"].keys() == english["words"].keys()
    assert len(other["examples"]) == len(english["examples"])
    assert other["messages"].keys() == LOCALES[OTHERS[0]]["messages"].keys()
    rows = [(text, other["words"][key]) for key, text in english["words"].items()]
    for text, translation in [*rows, *other["messages"].items()]:
        assert translation and fields(translation) == fields(text), text


def test_a_template_holds_no_values() -> None:
    """A value in the template would be read as fields of it, and would find no translation."""
    calls = [
        (path, node)
        for path in sorted((ROOT / "imgsearch").rglob("*.py"))
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS
    ]
    assert len(calls) > 90
    for path, call in calls:
        parts = {type(node) for node in ast.walk(call.args[0])}
        assert not {ast.JoinedStr, ast.BinOp} & parts, f"{path}, line {call.lineno}"


@pytest.mark.parametrize("path", modules_behind_the_page(), ids=lambda path: path.stem)
def test_what_the_library_says_is_translated(path: Path) -> None:
    said = {text for text in sentences_of(path) if not text.startswith(tuple(PROMPTS))}
    assert said <= LOCALES[OTHERS[0]]["messages"].keys()


def test_every_message_is_said() -> None:
    said = set().union(*(sentences_of(path) for path in modules_behind_the_page()))
    assert LOCALES[OTHERS[0]]["messages"].keys() <= said


def test_every_word_is_used_and_every_word_used_is_there() -> None:
    used: set[str] = set()
    for node in (node for path in PAGE for node in ast.walk(tree_of(path))):
        text = text_of(node) or ""
        if isinstance(node, ast.JoinedStr) and re.search("[a-z]_|_[a-z]", text):
            used |= {key for key in WORDS if re.fullmatch(re.escape(text).replace(r"\{\}", ".+"), key)}
        used |= {text} & set(WORDS)
        if isinstance(node, ast.Call) and names_of(node) & {"t", "_t", "tr"} and node.args:
            key = text_of(node.args[0])
            assert key is None or any(re.fullmatch(re.escape(key).replace(r"\{\}", ".+"), word) for word in WORDS), key
    scripts = "".join(path.read_text("utf-8") for path in SCRIPTS)
    named, beginnings = re.findall(r"\bwords\.(\w+)", scripts), re.findall(r"words\[`(\w+_)\$", scripts)
    assert named and beginnings and set(named) <= set(WORDS)
    used |= {*named, *re.findall(r"'(\w+)'", scripts), *(key for key in WORDS if key.startswith(tuple(beginnings)))}
    assert used & set(WORDS) == set(WORDS)


def is_for_people(text: str) -> bool:
    """Whether a text holds words outside of tags: two in a row, a capitalised one, or one with an accent."""
    text = re.sub(r"<[^<>]*(>|$)|imgsearch", "", text)
    return has_words(text) or re.search(r"\b[A-Z][a-z]+\b|[^\W\d_A-Za-z]", text) is not None


def words_in_script(script: str) -> list[str]:
    """The words in JavaScript's strings; single ones, such as a key's name, count where they are shown."""
    script = re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", script, flags=re.DOTALL)
    script = re.sub(r"\b(?:class|style)(?:: | = )(?:`[^`]*`|[^,;}\n])*", "", script)
    texts = [text[1:-1] for text in re.findall(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`]*`", script)]
    found = [text for text in texts if is_for_people(re.sub(r"\$\{[^}]*\}", "", text)) and not text.isalpha()]
    found += re.findall(r"(?:textContent|innerText|title|ariaLabel)\s*=\s*([\"'`][^\"'`$]*[a-zA-Z]{2})", script)
    return found + re.findall(r"[\"'](?:aria-label|title)[\"'],\s*([\"'`][^\"'`$]*[a-zA-Z]{2})", script)


@pytest.mark.parametrize("path", FOR_VISITORS, ids=lambda path: path.name)
def test_no_word_outside_of_words(path: Path) -> None:
    for node in nodes_of(tree_of(path)):
        text = text_of(node) or ""
        found = words_in_script(text) if "=>" in text else is_for_people(text)
        assert not found, f"line {node.lineno}: {text}"  # type: ignore[attr-defined]
        for keyword in getattr(node, "keywords", []):
            shown = text_of(keyword.value) if keyword.arg in SHOWN else None
            assert not shown or not re.search(r"[^\W\d_]", shown.replace("imgsearch", "")), f"{keyword.arg}={shown}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_word_in_scripts(path: Path) -> None:
    assert words_in_script(path.read_text("utf-8")) == []


def test_the_rule_for_words_sees_them() -> None:
    assert all(map(is_for_people, ["Close", "more like this", "<b>Score of</b>", "Français", "{} pictures found"]))
    assert not any(
        map(is_for_people, ["<h1>imgsearch</h1>", "<dt>{}</dt>", "{} s", "accept-language", "<p class=a b>"])
    )
    assert words_in_script("node.textContent = 'Close'; node.setAttribute('aria-label', `Map of ${name}`)") != []
    assert words_in_script("make('p', { class: on ? 'two names' : '', title: 'Two words' }, 'Three more words')") != []
    assert words_in_script("make('p', { class: on ? 'two names' : 'one' }); const style = `top: ${top} px`") == []
    assert words_in_script("if (event.key === 'Enter') node.title = props.words.close; // a note, 'of words'") == []
