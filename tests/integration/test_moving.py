"""Video, animations and audio: restored through ffmpeg by Mastodon's rules, or deferred by name where there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeInstance, opened

from mastomend.commands.check import check
from mastomend.commands.parts import find_ffmpeg
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.images import moving, programs
from mastomend.images.decode import UnusableImage, header
from mastomend.mastodon.configuration import Limits
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS
from mastomend.mastodon.processing import moving_rules
from mastomend.mastodon.versions import Version
from mastomend.outcomes import Outcome

needs_ffmpeg = pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="ffmpeg")
APPLY = RepairOptions(apply=True, max_missing_percent=100)
RULES = moving_rules(Version("4.5", ""), Limits())


def ffmpeg(*words: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True, timeout=60)


def probe(data: bytes, folder: Path) -> dict[str, Any]:
    """What ffprobe says, run by hand."""
    path = folder / "probed"
    path.write_bytes(data)
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    answer: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    return answer


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small films and sounds, made by hand."""
    folder = tmp_path_factory.mktemp("clips")
    film, tone = ["-f", "lavfi", "-i", "testsrc2=size=1281x721:rate=25:duration=1"], ["-f", "lavfi", "-i", "sine=d=1"]
    even = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=1"]
    h264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
    made = {
        "talk.mp4": [*even, *tone, *h264, "-c:a", "aac", "-metadata", "title=secret"],
        "silent.mp4": [*even, *h264],
        "odd.webm": [*film, *tone, "-c:v", "libvpx", "-c:a", "libvorbis", "-shortest"],
        "sound.ogg": [*tone, "-c:a", "libvorbis"],
        "loop.gif": ["-f", "lavfi", "-i", "testsrc2=size=101x77:rate=10:duration=1"],
    }
    for name, words in made.items():
        ffmpeg(*words, str(folder / name))
    (folder / "cover.png").write_bytes(picture(5, 300, 300))
    ffmpeg("-i", str(folder / "sound.ogg"), "-i", str(folder / "cover.png"), "-map", "0:a", "-map", "1:v",
           "-c:a", "libmp3lame", "-disposition:v", "attached_pic", str(folder / "song.mp3"))  # fmt: skip
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_ffmpeg
@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_moving_pictures_and_sounds_are_whole_again(
    make_instance: MakeInstance, network: Fediverse, clips: dict[str, bytes], tmp_path: Path, storage: str
) -> None:
    instance = make_instance("4.5", storage)
    origin = network.add("films.example")
    origin.files = {f"/{name}": data for name, data in clips.items()}
    expected = {"talk.mp4": 2, "silent.mp4": 1, "odd.webm": 2, "sound.ogg": 4, "loop.gif": 1, "song.mp3": 4}
    ids = {}
    for name, media_type in expected.items():
        audio = media_type == 4
        stored = ("old.mp3", "audio/mpeg") if audio else ("old.mp4", "video/mp4")
        url = origin.url(f"/{name}")
        keys = instance.add_plain(MEDIA_FILES, b"as it was", *stored, remote_url=url, type=media_type)
        ids[name] = keys
        for key in keys:
            instance.media.delete(key)
    (changed,) = instance.add_plain(
        MEDIA_FILES, b"was", "x.mp3", "audio/mpeg", remote_url=origin.url("/cover.png"), type=4
    )
    instance.media.delete(changed)
    report = repair(opened(instance), APPLY)
    rows = instance.db.execute("SELECT remote_url AS url, * FROM media_attachments").fetchall()
    by_name = {row["url"].rpartition("/")[2]: row for row in rows}
    assert report.outcomes[Outcome.RESTORED] == 6, report.reasons
    for name, media_type in expected.items():
        row, keys = by_name[name], ids[name]
        assert row["type"] == media_type, name
        data = instance.media.read(keys[0])
        assert data is not None and row["file_file_size"] == len(data)
        found = probe(data, tmp_path)
        streams = {s["codec_type"]: s for s in found["streams"]}
        assert "title" not in found["format"].get("tags", {}), "metadata is dropped"
        if media_type == 4:
            assert (streams["audio"]["codec_name"], set(streams)) == ("mp3", {"audio"})
            assert row["file_meta"]["original"]["duration"] == pytest.approx(1, abs=0.1)
            continue
        video, small = streams["video"], instance.media.read(keys[1])
        assert small is not None
        assert (video["codec_name"], video["pix_fmt"]) == ("h264", "yuv420p")
        assert ("audio" in streams) == (media_type == 2)
        meta = row["file_meta"]
        assert (meta["original"]["width"], meta["original"]["height"]) == (video["width"], video["height"])
        assert video["width"] % 2 == video["height"] % 2 == 0
        poster = header(small)
        assert poster.content_type == "image/png" and max(poster.width, poster.height) <= 640
        assert meta["small"]["size"] == f"{poster.width}x{poster.height}"
        assert len(row["blurhash"]) == 36
    assert by_name["odd.webm"]["file_meta"]["original"]["width"] == 1280, "an odd side loses a line, nothing is scaled"
    assert check(opened(instance)).broken == 0
    row = by_name["cover.png"]
    assert (row["type"], row["file_content_type"]) == (0, "image/png"), "it becomes what its origin serves now"


@needs_ffmpeg
def test_ours_agrees_with_ffmpeg_by_hand(clips: dict[str, bytes], tmp_path: Path) -> None:
    tools = find_ffmpeg({})
    assert tools is not None
    source = tmp_path / "odd.webm"
    source.write_bytes(clips["odd.webm"])
    made = tools.make(source, RULES, tmp_path)
    by_hand, frame = tmp_path / "hand.mp4", tmp_path / "hand.png"
    ffmpeg(
        "-i", str(source), "-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "crop=1280:720", "-c:a", "aac", str(by_hand)
    )
    ffmpeg("-i", str(source), "-vf", "crop=1280:720,scale=640:-1", "-frames:v", "1", str(frame))
    ours, theirs = (probe(p.read_bytes(), tmp_path) for p in (made.files["original"], by_hand))
    for name in ("codec_name", "width", "height", "pix_fmt", "avg_frame_rate"):
        assert ours["streams"][0][name] == theirs["streams"][0][name]
    assert header(made.files["small"].read_bytes()) == header(frame.read_bytes())
    copied = tmp_path / "talk.mp4"
    copied.write_bytes(clips["talk.mp4"])
    kept = tools.make(copied, RULES, tmp_path)
    digests = [
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(p), "-c", "copy", "-f", "md5", "-"], capture_output=True, check=True)
        .stdout for p in (copied, kept.files["original"])
    ]  # fmt: skip
    assert digests[0] == digests[1], "h264 and aac in an MP4 are copied, not made anew"


@needs_ffmpeg
def test_a_missing_poster_is_made_from_the_stored_video(make_instance: MakeInstance, clips: dict[str, bytes]) -> None:
    instance = make_instance("4.6")
    keys = instance.add_plain(
        MEDIA_FILES, clips["talk.mp4"], "a.mp4", "video/mp4", remote_url="https://x.example/v", type=2
    )
    instance.media.delete(keys[1])
    report = repair(opened(instance), APPLY)
    assert report.sources == {"original": 1}
    poster = instance.media.read(keys[1])
    assert poster is not None and (header(poster).width, header(poster).height) == (320, 240)


@needs_ffmpeg
@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
    ],
)
def test_a_playlist_names_no_other_file(tmp_path: Path, playlist: bytes) -> None:
    tools = find_ffmpeg({})
    assert tools is not None
    source = tmp_path / "evil"
    source.write_bytes(playlist)
    with pytest.raises(UnusableImage) as refused:
        tools.make(source, RULES, tmp_path)
    assert refused.value.reason == "not_media"


def test_without_ffmpeg_it_is_deferred_by_name(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance("4.5")
    with instance.env.open("a") as file:
        file.write("FFMPEG_BINARY=/nowhere/ffmpeg\n")
    origin = network.add("films.example")
    (key, *_) = instance.add_plain(
        MEDIA_FILES, b"was", "a.mp4", "video/mp4", remote_url=origin.url("/talk.mp4"), type=2
    )
    instance.media.delete(key)
    report = repair(opened(instance), APPLY)
    assert {(o.value, reason) for o, reason in report.reasons} == {("deferred", "needs_ffmpeg")}
    assert not network.requests


@needs_ffmpeg
def test_a_cover_is_taken_out_of_its_sound(
    make_instance: MakeInstance, network: Fediverse, clips: dict[str, bytes]
) -> None:
    instance = make_instance("4.6")
    origin = network.add("films.example")
    origin.files = {f"/{name}": data for name, data in clips.items()}
    keys = {}
    for name in ("song.mp3", "sound.ogg"):
        made = instance.produced(MEDIA_THUMBNAILS, clips["cover.png"])
        columns = instance.attachment(MEDIA_THUMBNAILS, made, "cover.png", 1)
        new = instance.insert("media_attachments", remote_url=origin.url(f"/{name}"), type=4, **columns)
        record = Record(new, False, "cover.png", made.content_type, len(made.original), 1)
        keys[name] = instance.store(MEDIA_THUMBNAILS, record, made.files)
        instance.media.delete(keys[name][0])
    report = repair(opened(instance), APPLY)
    assert {(o.value, reason) for o, reason in report.reasons} == {
        ("refreshed", "other_picture"),
        ("gone", "no_picture"),
    }
    cover = instance.media.read(keys["song.mp3"][0])
    assert cover is not None and (header(cover).width, header(cover).height) == (300, 300)


def meta_of(instance: SimulatedInstance, record: int) -> dict[str, Any]:
    row = instance.db.execute(
        "SELECT file_meta::text AS meta FROM media_attachments WHERE id = %s", [record]
    ).fetchone()
    assert row is not None
    found: dict[str, Any] = json.loads(row["meta"])
    return found


@needs_ffmpeg
def test_meta_describes_what_came_and_how_it_is_seen(
    make_instance: MakeInstance, network: Fediverse, clips: dict[str, bytes], tmp_path: Path
) -> None:
    """D17: a film that lies on its side is as high as it is wide; the original's numbers are those of the input."""
    (tmp_path / "talk.mp4").write_bytes(clips["talk.mp4"])
    turned, source = tmp_path / "turned.mp4", ["-i", str(tmp_path / "talk.mp4")]
    ffmpeg("-display_rotation", "90", *source, "-c", "copy", str(turned)) if _knows_rotation() else ffmpeg(
        *source, "-c", "copy", "-metadata:s:v:0", "rotate=90", str(turned)
    )
    instance = make_instance("4.6")
    origin = network.add("films.example")
    odd = ["-f", "lavfi", "-i", "testsrc=size=321x241:rate=25:duration=1", "-pix_fmt", "yuv420p", "-c:v", "libvpx"]
    ffmpeg(*odd, str(tmp_path / "odd.webm"))
    origin.files = {"/turned.mp4": turned.read_bytes(), "/odd.webm": (tmp_path / "odd.webm").read_bytes()}
    made = {}
    for name in ("turned.mp4", "odd.webm"):
        row = {"remote_url": origin.url(f"/{name}"), "type": 2}
        made[name] = instance.insert(
            "media_attachments", **row, file_file_name="a.mp4", file_content_type="video/mp4", file_file_size=3,
            file_storage_schema_version=1,
        )  # fmt: skip
    report = repair(opened(instance), APPLY)
    assert report.undone == 0, report.reasons
    found = meta_of(instance, made["turned.mp4"])["original"]
    assert (found["width"], found["height"]) == (240, 320)
    small = meta_of(instance, made["turned.mp4"])["small"]
    assert small["width"] < small["height"], "its poster is seen the same way"
    found = meta_of(instance, made["odd.webm"])["original"]
    assert (found["width"], found["height"]) == (321, 241), "of what came: what was made of it is even"
    assert found["frame_rate"] == "25/1"


def _knows_rotation() -> bool:
    done = subprocess.run(["ffmpeg", "-hide_banner", "-h", "full"], capture_output=True, text=True, check=False)
    return "-display_rotation" in done.stdout


def test_a_frame_rate_of_nothing_falls_back() -> None:
    assert moving.frame_rate({"avg_frame_rate": "0/0", "r_frame_rate": "30/1"}) == "30/1"
    assert moving.frame_rate({"avg_frame_rate": "24/1", "r_frame_rate": "30/1"}) == "24/1"
    assert moving.frame_rate({"r_frame_rate": "30/1"}) == "30/1"


@needs_ffmpeg
def test_a_video_without_pictures_is_rejected(make_instance: MakeInstance, network: Fediverse, tmp_path: Path) -> None:
    tone = ["-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac"]
    ffmpeg(*tone, "-brand", "isom", str(tmp_path / "film.mp4"))
    ffmpeg(*tone, "-f", "ipod", str(tmp_path / "song.m4a"))
    instance = make_instance()
    origin = network.add("films.example")
    origin.files = {
        "/film.mp4": (tmp_path / "film.mp4").read_bytes(),
        "/song.m4a": (tmp_path / "song.m4a").read_bytes(),
    }
    made = {
        name: instance.insert(
            "media_attachments", remote_url=origin.url(name), type=4, file_file_name=f"{n}.mp3",
            file_content_type="audio/mpeg", file_file_size=3, file_storage_schema_version=1,
        )
        for n, name in enumerate(origin.files)
    }  # fmt: skip
    assert set(made) == {"/film.mp4", "/song.m4a"}
    report = repair(opened(instance), APPLY)
    assert report.reasons[Outcome.REFUSED, "bad_type"] == 1 and report.undone == 1, report.reasons


@needs_ffmpeg
def test_ffmpeg_is_bounded(tmp_path: Path) -> None:
    """F32: in time, memory and output; whatever it reads, it ends."""
    forever = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=3840x2160:rate=60",
        str(tmp_path / "x.mp4"),
    ]
    began = time.monotonic()
    with pytest.raises(UnusableImage, match="did not finish"):
        programs.run(forever, seconds=2, output=1 << 40)
    assert time.monotonic() - began < 30
    done = programs.run([*forever[:-1], "-f", "rawvideo", str(tmp_path / "big")], seconds=60, output=5_000_000)
    assert done.returncode != 0 and (tmp_path / "big").stat().st_size <= 5_000_000
    assert programs.run(forever, seconds=60, memory=60_000_000).returncode != 0
