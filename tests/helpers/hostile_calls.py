"""Raw calls of strangers: what each sends, whether it may be answered, and what comes back."""

import hashlib
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradio.utils import get_hash_seed

from imgsearch.config import ROOT
from tests.helpers.app import FORM, form_of

API = "/gradio_api"
META = {"_type": "gradio.FileData"}
COFFEE = ROOT / "examples" / "skimage" / "coffee.jpg"
GIF = "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
CHUNK = 65_536
HOSTS = ("localhost:{}", "127.0.0.1:{}", "[::1]:{}", "2130706433:{}", "0x7f.1:{}", "u:p@127.0.0.1:{}", "127.1:{}")


@dataclass(frozen=True)
class Call:
    """A request; `may_answer` where something other than a refusal may come of it."""

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_chunked: bool = False  # its length is not said beforehand
    may_answer: bool = False


@dataclass(frozen=True)
class Server:
    """What a stranger knows of a running app, and of another visitor; and a server of the stranger's own."""

    config: dict[str, Any]
    canary_port: int
    upload: str  # the path of another visitor's picture
    session: str  # of that visitor

    def inputs(self, number: int) -> list[dict[str, Any]]:
        """The components that an event takes."""
        components = {component["id"]: component for component in self.config["components"]}
        return [components[id] for id in self.config["dependencies"][number]["inputs"]]

    def numbers(self, kind: str) -> list[int]:
        """The events that take a component of this kind."""
        events = range(len(self.config["dependencies"]))
        return [number for number in events if kind in {part["type"] for part in self.inputs(number)}]

    def scripted(self) -> list[int]:
        """The events that scripts of the page send, with data of their own."""
        html = {component["id"] for component in self.config["components"] if component["type"] == "html"}
        return [event["id"] for event in self.config["dependencies"] if html & {id for id, _ in event["targets"]}]

    def component(self, elem_id: str) -> int:
        """The component of that id in the page."""
        return next(part["id"] for part in self.config["components"] if part["props"].get("elem_id") == elem_id)

    def number(self, api_name: str) -> int:
        """The event of that name."""
        return next(event["id"] for event in self.config["dependencies"] if event["api_name"] == api_name)


def post(name: str, path: str, value: object, *, may_answer: bool = False, **headers: str) -> Call:
    """A JSON body; as it is where it is bytes already."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    names = {key.replace("_", "-"): text for key, text in headers.items()}
    return Call(name, "POST", API + path, body, {"Content-Type": "application/json"} | names, may_answer=may_answer)


def make_calls(server: Server) -> dict[str, list[Call]]:
    """All of them, in groups."""
    groups = (pictures, misplaced, malformed, events, functions, files, routes, uploads)
    return {make.__name__: list(make(server)) for make in groups}


def file_values(server: Server) -> dict[str, object]:
    """What stands for a picture and is no upload."""
    addresses = [f"http://{host.format(server.canary_port)}/a.jpg" for host in HOSTS]
    addresses += ["HTTP://127.0.0.1:9/a.jpg", "https://127.0.0.1/a.jpg", "ftp://127.0.0.1/a.jpg", "gopher://x/"]
    addresses += ["http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "//127.0.0.1/a.jpg"]
    paths = ["/etc/passwd", "/proc/self/environ", "/proc/self/fd/0", str(COFFEE), "examples/skimage/coffee.jpg"]
    paths += [
        str(ROOT / "app.py"),
        "file:///etc/passwd",
        "file:/etc/passwd",
        "/dev/zero",
        "/",
        "",
        ".",
        "~/.ssh/id_rsa",
    ]
    folder = str(Path(server.upload).parent)
    paths += [folder, f"{folder}/../../../etc/passwd", f"{folder}/../..{COFFEE}", f"{folder}/\0", "a" * 5000, "\ud800"]
    values: dict[str, object] = {}
    for path in (*addresses, *paths):
        values[f"{path[:60]!r} with meta"] = {"path": path, "meta": META}
        values[f"{path[:60]!r} without"] = {"path": path}
        values[f"{path[:60]!r} as an SVG"] = {"path": path, "orig_name": "a.svg", "mime_type": "image/svg+xml"}
        values[f"{path[:60]!r} as a stream"] = {"path": path, "meta": META, "is_stream": True}
        values[f"{path[:60]!r} bare"] = path
        values[f"{path[:60]!r} as an url"] = {"path": None, "url": path, "meta": META}
    values["data"] = {"url": f"data:image/gif;base64,{GIF}"}
    values["data as a path"] = {"path": f"data:image/gif;base64,{GIF}", "meta": META}
    values["upload with data"] = {"path": server.upload, "url": f"data:image/gif;base64,{GIF}", "meta": META}
    odd = (GIF, [], [server.upload], {}, 7, -1, 1e308, True, "null", {"path": 7}, {"path": [], "meta": META})
    values |= {f"{value!r:.60}": value for value in odd}
    values["odd meta"] = {"path": server.upload, "meta": 7}
    return values


def pictures(server: Server) -> Iterator[Call]:
    """In place of the picture, to each endpoint and to each event of the page that takes one."""
    images = server.numbers("image")
    for i, (name, value) in enumerate(file_values(server).items()):
        may = name == "upload with data"  # of which only the upload counts
        for endpoint, more in (("describe", ["short", "", "en"]), ("similar", [3, "", [], True])):
            yield post(f"{endpoint}: {name}", f"/call/{endpoint}", {"data": [value, *more]}, may_answer=may)
            yield post(f"{endpoint}, v2: {name}", f"/call/v2/{endpoint}", {"image": value}, may_answer=may)
        number = images[i % len(images)]  # each event gets some of the values
        call = event(server, f"event {number}: {name}", number, {"image": value})
        yield replace(call, may_answer=may)
    for number in images:
        yield event(server, f"event {number}", number, {"image": {"path": str(COFFEE), "orig_name": "a.svg"}})


def event(server: Server, name: str, number: int, given: dict[str, object], **more: object) -> Call:
    """An event of the page with what is given for each kind of component, and else with what stands there."""
    data = [given.get(part["type"], part["props"].get("value")) for part in server.inputs(number)]
    path = "/queue/join" if server.config["dependencies"][number]["queue"] else "/run/predict"
    body = {"data": data, "fn_index": number, "session_hash": f"stranger{number}", "event_data": None} | more
    return post(name, path, body, may_answer="event_data" in more or "image" not in given)


def misplaced(server: Server) -> Iterator[Call]:
    """A file where none is asked for."""
    address = f"http://127.0.0.1:{server.canary_port}/a.jpg"
    for value in ({"path": address, "meta": META}, {"path": str(COFFEE), "meta": META}):
        yield post("as the text", "/call/search", {"data": [value, 3, [], True]})
        yield post("in the filters", "/call/search", {"data": ["a dog", 3, [[value]], True]})
        yield post("as k", "/call/search", {"data": ["a dog", value, [], True]})
        yield post("as the text, by name", "/call/v2/search", {"text": value})
        for kind in ("textbox", "dropdown", "checkbox", "radio", "slider"):
            number = server.numbers(kind)[0]
            yield event(server, f"as a {kind}", number, {kind: value})


def malformed(server: Server) -> Iterator[Call]:
    """Bodies that no client sends."""
    number = server.number("search")
    yield post("no JSON", "/call/search", b"{")
    yield post("not an object", "/call/search", [1])
    yield post("not UTF-8", "/call/search", b'{"data": ["\xff\xfe", 3, [], true]}')
    for path in ("/call/search", "/call/v2/search", "/queue/join", "/run/predict", "/cancel", "/reset"):
        yield post(f"deep {path}", path, b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        yield post(f"30 deep {path}", path, b'{"data":' + b'{"a":' * 30 + b"1" + b"}" * 30 + b"}")
        yield post(f"too large {path}", path, {"data": ["a" * 3_000_000]})
        yield post(f"nothing {path}", path, b"")
    yield post("NaN", "/call/search", b'{"data": ["a dog", NaN, [], true]}')
    yield post("infinite", "/call/search", b'{"data": ["a dog", Infinity, [], true]}')
    yield post("huge number", "/call/search", b'{"data": ["a dog", ' + b"9" * 4000 + b", [], true]}", may_answer=True)
    yield post("5,000 digits", "/call/search", b'{"data": ["a dog", ' + b"9" * 5000 + b", [], true]}")
    yield post("lone surrogate", "/call/search", {"data": ["a \ud800 dog", 3, [], True]}, may_answer=True)
    yield post("10,000 filters", "/call/search", {"data": ["a dog", 3, ["a=b"] * 10_000, True]})
    yield post("10,000 inputs", "/call/search", {"data": ["a dog"] * 10_000})
    for count in (0, 1, 3, 5, 8):
        yield post(f"{count} inputs", "/call/search", {"data": ["a secret dog"] * count})
    yield post("odd parts", "/call/search", {"data": ["a dog", 3, {"a": 1}, True]}, may_answer=True)
    yield post("unknown names", "/call/v2/search", {"text": "a dog", "__class__": 1, "self": 2})
    yield post("a batch", "/queue/join", body_of(server, number, batched=True), may_answer=True)
    yield post("a text/plain body", "/call/search", {"data": ["a dog", 3, [], True]}, Content_Type="text/plain")


def body_of(server: Server, number: object, **more: object) -> dict[str, object]:
    """The body of a search by the page."""
    data = [part["props"].get("value") for part in server.inputs(server.number("search"))]
    return {"data": ["a dog", *data[1:]], "fn_index": number, "session_hash": "stranger", **more}


def events(server: Server) -> Iterator[Call]:
    """Events that are none, in the name of others, and with forged data."""
    for number in (-1, 10**6, 10**30, "6", "search", 6.0, True, None, [6], {}):
        yield post(f"event {number!r:.20}", "/queue/join", body_of(server, number))
        yield post(f"event {number!r:.20}, not queued", "/run/predict", body_of(server, number))
    for name in ("../search", "_draw", "restore", "x" * 300, "search%2f..", "predict"):
        yield post(f"name {name[:20]}", f"/call/{name}", {"data": ["a dog", 3, [], True]})
    for session in ("", "../../etc", "a" * 5000, "a\r\nSet-Cookie: a=b", 7, [server.session], None):
        body = body_of(server, server.number("search"), session_hash=session)
        yield post(f"session {session!r:.20}", "/queue/join", body)
    yield post(
        "another's event", "/cancel", {"session_hash": server.session, "fn_index": 0, "event_id": "a"}, may_answer=True
    )
    for number in server.scripted():
        for value in forged(server):
            yield event(server, f"scripted {number} {value!r:.60}", number, {}, event_data=value)


def forged(server: Server) -> Iterator[object]:
    """What scripts of the page could send of a question: link, paths, kind and collection."""
    yield from (None, {}, [], 7, "x", {"link": None}, {"link": []}, {"link": {"q": "a"}}, {"paths": {}}, {"kind": [7]})
    yield from ({"collection": value} for value in (7, [], {}, None, "../../etc", "x" * 9000))
    links = ["?tab=similar&u=../../etc/passwd&id=../x", "?tab=describe&id=../../README.md", "?where=" * 99, "%00"]
    links += ["?" + "part=1:text:a%20dog&" * 2000, "?q=" + "x" * 40_000, "?tab=similar&id=a.jpg&box=" + "9" * 5000]
    links += [f"?q=a&k={k}&from={start}" for k, start in (("9" * 20, 1), (1, "9" * 9), (-1, -1), ("1e9", "NaN"))]
    links += [f"?tab=similar&part={weight}:item:skimage/coffee.jpg" for weight in ("1e308", "nan", "-1", "0")]
    yield from ({"link": link, "paths": [], "kind": "csv", "_data": {}} for link in links)
    for ids in (7, {}, [7, None, {}, []], ["../../etc/passwd"] * 5000, ["\0"], [["skimage/coffee.jpg"]]):
        yield {"link": "?q=a", "paths": [], "kind": "zip", "count": 1, "ids": ids}
    token = Path(server.upload).parent.name[:16]
    anothers = f"?tab=similar&u={token}&part=1:upload:{token}"
    for paths in ([], None, 7, [7, None, {}], ["\0"], ["x" * 9000], [server.upload + "/.."] * 5000, "/etc/passwd"):
        yield {"link": anothers, "paths": paths, "kind": "json"}
    for path in (str(COFFEE), "/etc/passwd", f"{Path(server.upload).parent}/../../../../etc/passwd", "/dev/zero"):
        folder = Path(path).parent.name[:16]
        yield {"link": f"?tab=similar&u={folder}&part=1:upload:{folder}", "paths": [path], "kind": "json"}


def functions(server: Server) -> Iterator[Call]:
    """Calls of the wall and of the map behind their events, and of what is no function of theirs."""
    odd = (None, [], {}, 7, "x", True, ["starter"], [1, 2, 3], [[], {}], [None, None], ["starter", None])
    odd += (["starter", "../../etc/passwd"], ["starter", "\0"], ["starter", "x" * 9000], ["../../etc", 1])
    odd += (["starter", -1], ["starter", 10**30], ["starter", 1.5], ["starter", True], ["starter", {"path": "/"}])
    for part, name in (("wall", "item"), ("atlas", "card")):
        for data in odd:
            body = {"component_id": server.component(part), "fn_name": name, "session_hash": "stranger", "data": data}
            yield post(f"{part} {name} {data!r:.40}", "/component_server", body, may_answer=True)
        sound = {"component_id": server.component(part), "fn_name": name, "session_hash": "stranger"}
        yield post(f"{name} of nothing", "/component_server", sound)
        for wrong in ({"component_id": server.component("query")}, {"fn_name": "postprocess"}, {"session_hash": ""}):
            yield post(f"{name} {wrong}", "/component_server", sound | {"data": ["starter", 1]} | wrong)


def files(server: Server) -> Iterator[Call]:
    """Files of the server, and of others by a name worked out from the content."""
    folder = Path(server.upload).parents[1]
    digest = hashlib.sha256(get_hash_seed().encode() + COFFEE.read_bytes()).hexdigest()
    names = ["/etc/passwd", "/proc/self/environ", "/proc/self/cmdline", f"{ROOT}/app.py", "app.py", f"{COFFEE}"]
    names += [f"{ROOT}/indexes/starter/manifest.json", f"{ROOT}/.venv/pyvenv.cfg", "examples/CREDITS.md", "README.md"]
    names += [f"{folder}", f"{folder}/", f"{folder}/{digest}/coffee.jpg", f"{folder}/../../etc/passwd", "", "."]
    names += [f"{folder}/%2e%2e/%2e%2e/etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "%00", "%5c%5cx"]
    names += [f"{folder}/..%252f..%252fetc/passwd", "//etc/passwd", "file:///etc/passwd", "a" * 9000]
    names += [f"http://127.0.0.1:{server.canary_port}/a", f"HTTPS://127.0.0.1:{server.canary_port}/a"]
    for name in names:
        for method in ("GET", "HEAD"):
            yield Call(f"{method} {name[:60]}", method, f"{API}/file={name}")
    for path in ("/assets/", "/static/", "/svelte/", f"{API}/file/"):
        for name in ("../../../../../../etc/passwd", "%2e%2e/%2e%2e/routes.py", "..%2f..%2froutes.py", "/etc/passwd"):
            yield Call(f"{path} {name}", "GET", path + name)


def routes(server: Server) -> Iterator[Call]:
    """What Gradio has beside what the page needs, and what other sites' pages would send."""
    address = f"http://127.0.0.1:{server.canary_port}/a"
    closed = [f"proxy={address}", "stream/a", "stream/a/b/c/playlist.m3u8", "stream/a/b/c/playlist-file", "deep_link"]
    closed += ["dev/reload", "vibe-code", "openapi.json", "runs", "mcp", "mcp/sse", "run-history/records", "token"]
    closed += ["custom_component/6/component/a/../../../../etc/passwd", "profiling/traces", "queue/nothing"]
    for name in closed:
        yield Call(name, "GET", f"{API}/{name}")
    for path in ("/monitoring", "/monitoring/summary", "/docs", "/redoc", "/openapi.json", "/manifest.json", "/app.py"):
        yield Call(path, "GET", path)
    for name in ("component_server", "process_recording", "vibe-edit", "vibe-edit/", "run-history/connect", "stream/a"):
        body = {"data": [["."], "/etc/passwd"], "component_id": 14, "session_hash": "a", "fn_name": "ls"}
        yield post(name, f"/{name}", body)
    search = {"data": ["a dog", 3, [], True]}
    for name in ("search", "describe", "similar", "predict/", "_title", "show"):
        yield post(f"run {name}", f"/run/{name}", search)
        yield post(f"api {name}", f"/api/{name}", search)
    yield post("run queued", "/run/predict", body_of(server, server.number("search")))
    for origin in (
        "https://elsewhere.example",
        "null",
        "http://127.0.0.1:1",
        "http://localhost.elsewhere.example",
        "x",
    ):
        yield post(f"from {origin}", "/call/search", search, Origin=origin)
        yield post(f"from {origin}, forwarded", "/call/search", search, Origin=origin, X_Forwarded_Host=origin[8:])
    yield post("from another page", "/call/search", search, Origin="http://127.0.0.1", Sec_Fetch_Site="cross-site")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        yield Call(f"{method} a search", method, f"{API}/call/search")


def uploads(server: Server) -> Iterator[Call]:
    """Forms that are not one picture."""
    gif = b"GIF89a" + bytes(20)
    huge = bytes(22 * 2**20)
    form = {"Content-Type": FORM}
    path = f"{API}/upload"
    yield Call("300 files", "POST", path, form_of(*[("a.gif", gif)] * 300), form)
    yield Call("2 files", "POST", path, form_of(("a.gif", gif), ("b.gif", gif)), form)
    yield Call("22 MB", "POST", path, form_of(("a.gif", huge)), form)
    yield Call("22 MB without a length", "POST", path, form_of(("a.gif", huge)), form, is_chunked=True)
    yield Call("no end", "POST", path, form_of(("a.gif", gif))[:-7], form)
    yield Call("nothing", "POST", path, b"", form)
    for kind in ("text/plain", "application/json", "multipart/form-data", "multipart/mixed; boundary=XXX", "a" * 9000):
        yield Call(f"as {kind[:40]}", "POST", path, form_of(("a.gif", gif)), {"Content-Type": kind})
    yield Call("a long part header", "POST", path, form_of(("a" * 100_000, gif)), form)
    for name in (
        "../../../etc/cron.d/x",
        "/etc/passwd",
        'a"; name="b',
        "a\r\nX: y",
        "\0",
        "a" * 300 + ".gif",
        ".",
        "..",
    ):
        yield Call(f"named {name[:30]!r}", "POST", path, form_of((name, gif)), form, may_answer=True)
    yield Call("an odd id", "POST", f"{path}?upload_id={'a' * 500}", form_of(("a.gif", gif)), form)


def ask(url: str, call: Call) -> str:
    """What comes back: the status and body where it is refused, else what the call leads to."""
    status, text = send(url, call)
    if status != 200:
        return f"{status} {text}"
    if call.path.endswith("/queue/join"):
        session = json.loads(call.body)["session_hash"]
        return send(url, Call("", "GET", f"{API}/queue/data?session_hash={session}"))[1]
    if "/call/" in call.path:
        return send(url, Call("", "GET", f"{call.path}/{json.loads(text)['event_id']}"))[1]
    return text


def send(url: str, call: Call) -> tuple[int, str]:
    """The status and body of the answer; 0 where the connection was closed."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.putrequest(call.method, call.path, skip_accept_encoding=True)
        for name, value in call.headers.items():
            connection.putheader(name, value)
        if call.is_chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif call.method == "POST":
            connection.putheader("Content-Length", str(len(call.body)))
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before the end
            for i in range(0, len(call.body), CHUNK):
                part = call.body[i : i + CHUNK]
                connection.send(b"%x\r\n%b\r\n" % (len(part), part) if call.is_chunked else part)
            if call.is_chunked:
                connection.send(b"0\r\n\r\n")
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()


def is_refused(answer: str) -> bool:
    """Whether it is an HTTP error, or the event ended as one."""
    if re.match(r"\d{1,3} ", answer):
        return not answer.startswith("200 ")
    return '"success":false' in answer or "event: error" in answer or '"unexpected_error"' in answer


def is_mute(answer: str) -> bool:
    """Whether it says that something is wrong, and not what."""
    return "Internal Server Error" in answer or '"error":null' in answer or '"error": null' in answer
