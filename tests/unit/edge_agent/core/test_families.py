"""Which files of real cameras belong together, by the names that they give them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.families import FAMILIES, place_of
from edge_agent.core.groups import Role

O, P, S, T = Role.ORIGINAL, Role.PROXY, Role.SIDECAR, Role.THUMBNAIL  # noqa: E741

GROUPS = {
    "a GoPro's chapters, its small copies and its pictures": {
        "DCIM/100GOPRO/GX011234.MP4": O,
        "DCIM/100GOPRO/GX021234.MP4": O,
        "DCIM/100GOPRO/GL011234.LRV": P,
        "DCIM/100GOPRO/GX011234.THM": T,
        "DCIM/100GOPRO/GX011234.WAV": S,
    },
    "an older GoPro's": {
        "DCIM/100GOPRO/GOPR0042.MP4": O,
        "DCIM/100GOPRO/GP010042.MP4": O,
        "DCIM/100GOPRO/GOPR0042.THM": T,
        "DCIM/100GOPRO/GP010042.LRV": P,
    },
    "a GoPro MAX's": {"M/GS010135.360": O, "M/GS020135.360": O, "M/GS010135.LRV": P},
    "a GoPro's loop": {"M/GHAA0001.MP4": O, "M/GHAA0002.MP4": O, "M/GLAA0001.LRV": P},
    "a DJI Mavic's": {"D/DJI_0001.MP4": O, "D/DJI_0001.SRT": S, "D/DJI_0001.LRF": P},
    "the lenses of one shot of a DJI Matrice": {
        "D/DJI_20230812145012_0002_W.MP4": O,
        "D/DJI_20230812145012_0002_T.MP4": O,
        "D/DJI_20230812145012_0002_T.SRT": S,
    },
    "DJI goggles'": {"D/DJIG0003.mp4": O, "D/DJIG0003.srt": S},
    "both lenses of an Insta360": {
        "Camera01/VID_20220110_121609_00_657.insv": O,
        "Camera01/VID_20220110_121609_10_657.insv": O,
        "Camera01/LRV_20220110_121609_11_657.insv": P,
    },
    "a BlackVue's front and rear": {
        "Record/20230801_120000_NF.mp4": O,
        "Record/20230801_120000_NR.mp4": O,
        "Record/20230801_120000_NFS.mp4": P,
        "Record/20230801_120000_N.gps": S,
        "Record/20230801_120000_NF.thm": T,
    },
    "a Sony's, in four folders": {
        "PRIVATE/M4ROOT/CLIP/C0001.MP4": O,
        "PRIVATE/M4ROOT/CLIP/C0001M01.XML": S,
        "PRIVATE/M4ROOT/SUB/C0001S03.MP4": P,
        "PRIVATE/M4ROOT/THMBNL/C0001T01.JPG": T,
    },
    "a Sony's, copied into one": {"Card/C0001.MP4": O, "Card/C0001M01.XML": S},
    "a rosbag2": {
        "bags/run_3/run_3_0.mcap": O,
        "bags/run_3/run_3_1.mcap.zstd": O,
        "bags/run_3/metadata.yaml": S,
    },
    "a minute of openpilot": {
        "realdata/00000012--a1b2c3d4e5--7/rlog.zst": O,
        "realdata/00000012--a1b2c3d4e5--7/fcamera.hevc": O,
        "realdata/00000012--a1b2c3d4e5--7/qlog.zst": P,
        "realdata/00000012--a1b2c3d4e5--7/qcamera.ts": P,
    },
    "an event of a Tesla": {
        "TeslaCam/SentryClips/2023-08-01_12-00-00/2023-08-01_11-59-00-front.mp4": O,
        "TeslaCam/SentryClips/2023-08-01_12-00-00/2023-08-01_11-59-00-back.mp4": O,
        "TeslaCam/SentryClips/2023-08-01_12-00-00/event.json": S,
        "TeslaCam/SentryClips/2023-08-01_12-00-00/thumb.png": T,
    },
    "what rpicam-vid writes": {"media/cam.h264": O, "media/cam.pts": S, "media/cam.json": S},
    "what stands beside anything by its name": {
        "media/flight.mp4": O,
        "media/flight.mp4.json": S,
        "media/flight.gpx": S,
        "media/flight_proxy.mp4": P,
        "media/flight-thumb.jpg": T,
    },
}
ALONE = (
    "D/DJI_0002.MP4",
    "E/DJI_0001.MP4",
    "DCIM/100GOPRO/GX011235.MP4",
    "DCIM/100GOPRO/GOPR1234.JPG",
    "DCIM/101GOPRO/GX011234.MP4",
    "Camera01/VID_20220110_121609_00_658.insv",
    "bags/run_3/other_0.mcap",
    "bags/metadata.yaml",
    "elsewhere/rlog.zst",
    "media/rlog.zst",
)


def _place(path):
    folder, _, name = path.rpartition("/")
    return place_of(folder, name)


@pytest.mark.parametrize("of", GROUPS)
def test_the_files_of_one_recording_are_one_group_and_each_has_its_role(of):
    places = {path: _place(path) for path in GROUPS[of]}

    assert len({place.whole_key for place in places.values()}) == 1
    assert {path: place.role for path, place in places.items()} == GROUPS[of]


def test_no_two_recordings_are_one_group():
    keys = [_place(next(iter(paths))).whole_key for paths in GROUPS.values()]
    keys += [_place(path).whole_key for path in ALONE]

    assert len(set(keys)) == len(keys)


def test_letters_count_alike_in_either_case():
    for paths in GROUPS.values():
        for path in paths:
            assert _place(path.lower()).whole_key == _place(path.upper()).whole_key
            assert _place(path.lower()).role == _place(path.upper()).role


def test_the_chapters_of_a_gopro_are_counted_whatever_its_age():
    assert [_place(f"G/{name}").part for name in ("GX011234.MP4", "GX021234.MP4")] == [1, 2]
    assert [_place(f"G/{name}").part for name in ("GOPR1234.MP4", "GP011234.MP4")] == [1, 2]


def test_a_later_number_of_one_camera_is_of_its_series_and_another_folder_is_not():
    first, later, elsewhere = map(_place, ("D/DJI_0001.MP4", "D/DJI_0002.MP4", "E/DJI_0002.MP4"))

    assert first.series == later.series != elsewhere.series
    assert first.serial < later.serial


@given(st.text(max_size=60), st.text(min_size=1, max_size=60))
def test_any_name_has_a_place_and_its_key_is_its_own_folders(folder, name):
    place = place_of(folder, name)

    assert place.role in Role
    assert folder.startswith(place.folder)


@pytest.mark.parametrize("sample", ["A", "_", ".", "0", "A_", "_A.", "M01", "DJI_", "20230801_"])
def test_a_name_made_to_cost_time_costs_no_more_than_others(sample):
    longest = (sample * 800)[:761]

    for ending in ("", ".mp4", "_0.mcap", ".x\n"):
        for _ in range(20):
            place_of(longest, longest + ending)


def test_each_family_says_where_its_names_are_written_down():
    assert all(family.source for family in FAMILIES)
