"""`diffuserve serve` as its users see it: the real command line, the fake engine."""

from __future__ import annotations

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.checkpoints import sd15_folder, weights_of
from support.server import call, command, serving

pytestmark = pytest.mark.acceptance

JOBS = "/diffuserve/v1/jobs"


def test_the_banner_says_all_that_a_person_needs(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake") as server:
        assert server.stop() == 0
        assert f"curl -d 'prompt=a red apple' -d seed=7 {server.url}/txt2img" in server.output
        assert f"{server.url}/docs" in server.output
        assert str(tmp_path / "data") in server.output
        assert server.output.index("loading emoji-mini") < server.output.index("Ready at")


def test_a_prompt_becomes_a_picture_behind_a_link(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake") as server:
        answer = server.post("/txt2img", {"prompt": "红苹果", "seed": 7})
        (image,) = answer["images"]
        assert (answer["status"], image["seed"]) == ("success", 7)
        assert image["image_url"].startswith(server.url)
        assert call(image["image_url"]).startswith(b"\x89PNG")


def test_jobs_pictures_and_links_survive_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake") as server:
        job = server.post(f"{JOBS}?wait=60", {"prompt": "a cat", "seed": 1})
        assert server.stop(signal.SIGTERM) == 0
    with serving(tmp_path / "data", "--engine", "fake") as server:
        again = server.get(f"{JOBS}/{job['id']}")
        assert (again["status"], again["images"][0]["sha256"]) == ("succeeded", job["images"][0]["sha256"])
        signed = job["images"][0]["url"].partition("/files/")[2]
        assert call(f"{server.url}/files/{signed}").startswith(b"\x89PNG")


def test_a_job_that_ran_when_the_server_was_killed_is_finished_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake", fake_step_seconds="5") as server:
        job = server.post(JOBS, {"prompt": "a cat", "seed": 1})
        assert next(server.events(job["id"]))[0] == "started"
        server.stop(signal.SIGKILL)
    with serving(tmp_path / "data", "--engine", "fake") as server:
        name, ended = list(server.events(job["id"]))[-1]
        assert (name, ended["status"], len(ended["images"])) == ("succeeded", "succeeded", 1)
        assert ended["request"]["seeds"] == [1]


def test_a_job_that_waited_when_the_server_was_killed_is_finished_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake", fake_step_seconds="5") as server:
        jobs = [server.post(JOBS, {"prompt": "a cat", "num_images": 16}) for _ in range(3)]
        server.stop(signal.SIGKILL)
    with serving(tmp_path / "data", "--engine", "fake") as server:
        assert [list(server.events(job["id"]))[-1][0] for job in jobs] == ["succeeded"] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_running_job_is_finished_and_answered_before_the_server_stops(tmp_path: Path, number: signal.Signals) -> None:
    with (
        serving(tmp_path / "data", "--engine", "fake", fake_step_seconds="0.1") as server,
        ThreadPoolExecutor(1) as caller,
    ):
        answer = caller.submit(server.post, "/txt2img", {"prompt": "a cat", "num_inference_steps": 20})
        while b"diffuserve_engine_running 1.0" not in server.get("/metrics"):
            pass
        assert server.stop(number) == 0
        assert answer.result()["status"] == "success"


def test_a_job_that_takes_too_long_is_queued_again_and_finished_after_the_restart(tmp_path: Path) -> None:
    slow = {"fake_step_seconds": "5", "shutdown_seconds": "0"}
    with serving(tmp_path / "data", "--engine", "fake", **slow) as server:
        job = server.post(JOBS, {"prompt": "a cat"})
        assert next(server.events(job["id"]))[0] == "started"
        assert server.stop() == 0
    with serving(tmp_path / "data", "--engine", "fake") as server:
        assert list(server.events(job["id"]))[-1][0] == "succeeded"


def test_a_caller_whose_answer_must_wait_for_the_restart_does_not_lose_the_job(tmp_path: Path) -> None:
    slow = {"fake_step_seconds": "5", "shutdown_seconds": "0"}
    with serving(tmp_path / "data", "--engine", "fake", **slow) as server, ThreadPoolExecutor(1) as caller:
        lost = caller.submit(server.post, "/txt2img", {"prompt": "a cat", "seed": 7})
        while b"diffuserve_engine_running 1.0" not in server.get("/metrics"):
            pass
        assert server.stop() == 0
        assert isinstance(lost.exception(), OSError)
    with serving(tmp_path / "data", "--engine", "fake") as server:
        while b'diffuserve_jobs_total{dialect="plain",status="succeeded"} 1.0' not in server.get("/metrics"):
            pass


def test_an_open_stream_of_events_does_not_hold_the_server_up(tmp_path: Path) -> None:
    slow = {"fake_step_seconds": "60", "shutdown_seconds": "0.1"}
    with serving(tmp_path / "data", "--engine", "fake", **slow) as server:
        job = server.post(JOBS, {"prompt": "a cat"})
        stream = server.events(job["id"])
        assert next(stream)[0] == "started"
        assert server.stop() == 0


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake", fake_step_seconds="60", shutdown_seconds="600") as server:
        job = server.post(JOBS, {"prompt": "a cat"})
        assert next(server.events(job["id"]))[0] == "started"
        server.process.send_signal(signal.SIGINT)
        server.read_until("Ctrl-C again stops at once")
        assert server.stop() == 130


def test_a_model_folder_that_is_incomplete_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "model")
    weights_of(folder, "unet").unlink()
    done = command("serve", "--model", folder, "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"diffuserve: {folder} is incomplete: unet has no diffusion_pytorch_model.safetensors\n"
    assert not (tmp_path / "diffuserve-data").exists()


def test_a_port_in_use_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--engine", "fake", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"diffuserve: port {port} on 127.0.0.1 is in use")
    assert done.stderr.count("\n") == 1


def test_a_data_folder_in_use_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--engine", "fake"):
        done = command("serve", "--engine", "fake", "--port", "0", "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("diffuserve: another server uses the data folder")


def test_settings_of_the_file_are_used_and_its_models_can_be_drawn_with(tmp_path: Path) -> None:
    config = tmp_path / "diffuserve.toml"
    config.write_text(
        'engine = "fake"\nmodel = "q"\n'
        '[[models]]\nname = "quick"\npath = "embedded:emoji-mini"\naliases = ["q"]\nnum_inference_steps = 3\n'
    )
    with serving(tmp_path / "data") as server:
        job = server.post(f"{JOBS}?wait=60", {"prompt": "a cat"})
        assert (job["request"]["model"], job["request"]["num_inference_steps"]) == ("quick", 3)


def test_many_callers_at_once_are_all_answered(tmp_path: Path) -> None:
    ready = threading.Barrier(8)

    def ask(seed: int) -> int:
        ready.wait()
        (image,) = server.post("/txt2img", {"prompt": "a cat", "seed": seed})["images"]
        return int(image["seed"])

    with serving(tmp_path / "data", "--engine", "fake") as server, ThreadPoolExecutor(8) as callers:
        assert list(callers.map(ask, range(1, 9))) == list(range(1, 9))
