"""Every hostile file through the three tabs of a running app: an answer or one plain sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from tests.helpers.app import running_app, upload_raw
from tests.helpers.app_process import resident_mib
from tests.helpers.hostile_calls import COFFEE, Server, body_of, event, post
from tests.helpers.hostile_pictures import Hostile, make_hostile
from tests.hostile.test_calls import ask, is_mute, is_refused

GROWTH_MB = 96  # the last pictures are kept, up to 50 MB
SENTENCE = re.compile(r'"error": ?"([^"]+\.)"')


@dataclass(frozen=True)
class App:
    url: str
    pid: int
    server: Server
    files: list[Hostile]

    def upload(self, file: Path) -> dict[str, Any]:
        """What stands for the file in an event."""
        return upload_raw(self.url, file) | {"orig_name": file.name}

    def answers(self, picture: dict[str, Any]) -> dict[str, str]:
        """What each tab says of it; the search has it as one of its parts."""
        session = picture["path"].split("/")[-2][:32]
        added = event(self.server, "", self.server.number("_add_picture_1"), {"image": picture}, session_hash=session)
        assert not is_refused(ask(self.url, added))
        search = body_of(self.server, self.server.number("search"), session_hash=session)
        return {
            "describe": ask(self.url, post("", "/call/describe", {"data": [picture, "short", "", "en"]})),
            "similar": ask(self.url, post("", "/call/similar", {"data": [picture, 3, "", [], True]})),
            "search": ask(self.url, post("", "/queue/join", search)),
        }


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    files = make_hostile(tmp_path_factory.mktemp("hostile"))
    with running_app("--encoder", "starter", "--captioner", "starter") as (url, process):
        client = Client(url, verbose=False)
        for endpoint in ("/describe", "/similar"):
            client.predict(handle_file(COFFEE), api_name=endpoint)
        yield App(url, process.pid, Server(client.config, 0, "", ""), files)
        assert process.poll() is None


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_an_answer_or_a_sentence(app: App, step: int) -> None:
    """Each third of them; all where the long tests run."""
    before = resident_mib(app.pid)
    wrong = []
    for hostile in app.files[::step]:
        answers = app.answers(app.upload(hostile.path))
        for tab, answer in answers.items():
            refused = is_refused(answer)
            if is_mute(answer) or (refused and not SENTENCE.search(answer)) or refused is hostile.is_picture:
                wrong.append(f"{tab}, {hostile.path.name!r}: {answer[-300:]!r}")
    assert not wrong, "\n".join(wrong)
    assert resident_mib(app.pid) <= before + GROWTH_MB
    answer, *_ = Client(app.url, verbose=False).predict("a cup of coffee", 3, api_name="/search")
    assert len(answer["hits"]) == 3
