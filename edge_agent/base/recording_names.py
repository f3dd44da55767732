"""Which names are recordings where the owner does not say: what recorders write, by who writes it.

Not here: what changes for as long as somebody records (an HLS playlist, a database beside its journal, a
text log), for each change would be sent as a recording of its own.
"""

from __future__ import annotations

_VIDEO = """
    mp4 mov m4v mkv webm ts mts m2ts m2t mpg mpeg mpe m2v m1v avi divx flv f4v wmv asf ogv ogm 3gp 3g2 vob
    mod tod dv mxf mjpeg mjpg h264 264 avc h265 265 hevc av1 ivf obu y4m yuv nv12 m4s cmfv cmfa
    braw r3d crm nev cine ari arx
"""
_ACTION_CAMERAS_AND_DRONES = """
    lrv lrf thm glv gpr insv insp lrvb osv 360 srt gpx mxv
    mrk nav obs rtk rpos rtb rtl rts sig imu ldr ldrt clc cli cmi mnf
"""
_DASHCAMS = "gps 3gf nmea nme gsensor igc fit"
_STILL = """
    jpg jpeg jpe jfif png tif tiff gif webp bmp heic heif hif avif jxl jp2 j2k tga exr hdr
    ppm pgm pbm pnm pfm raw raw8 raw10 raw12 raw16 rgb bgr y16 aae
    dng arw sr2 srf cr2 cr3 crw nef nrw raf rw2 rwl orf pef srw 3fr fff iiq x3f erf mrw dcr kdc
"""
_THERMAL = "rjpeg seq csq sfmov ats ptw tmc irg"
_SOUND = "wav flac ogg oga opus mp3 aac m4a ac3 aif aiff caf amr wma w64"
_ROBOTS = """
    mcap bag db3 ulg ulog bin tlog rlog qlog dat px4log bbl bfl blackbox npy npz h5 hdf5 parquet feather
    arrow avro tfrecord svo svo2 klg pcap pcapng blf mf4 asc
"""
_LIDAR = "las laz e57 ply pcd ptx pts lvx lvx2 rxp fls xyz sbet trj ubx sbf rinex rnx"
_BESIDE = "csv tsv json jsonl ndjson geojson txt xml yaml yml kml kmz vtt ass sub"
_PACKED = "gz bz2 xz zst zstd lz4 zip tar tgz 7z"

ENDINGS = " ".join(
    (
        _VIDEO,
        _ACTION_CAMERAS_AND_DRONES,
        _DASHCAMS,
        _STILL,
        _THERMAL,
        _SOUND,
        _ROBOTS,
        _LIDAR,
        _BESIDE,
        _PACKED,
    )
).split()

PATTERNS = (*(f"*.{ending}" for ending in ENDINGS), "rlog", "qlog")
"""The last two: openpilot's, before it packed them."""

_UNFINISHED = """
    *.tmp *.temp *.part *.partial *.crdownload *.download *.filepart *.incomplete *.inprogress
    *.active ~* *.lock *.swp *-wal *-shm *-journal *.m3u8 thumbs.db desktop.ini
"""

IGNORE = tuple(_UNFINISHED.split())
"""Unfinished by convention, changing for ever, or a desktop's own."""
