"""The films: real MP4s, made once by ffmpeg and kept in the work directory.

Everything is cut from one clip of 8 s of 1080p H.264 with a keyframe each second,
AAC sound and its index (moov) at the end, as video models deliver it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from .system import BenchError, ContenderError, find_program, run

CLIP_SECONDS = 8
FRAMES_PER_SECOND = 24

# Part of the directory's name: raise it when a recipe below changes.
RECIPE_VERSION = 1

# name -> kbit/s of video; gives 12.7 and 3 MB
_ENCODED = {"13-last": 12_950, "3-last": 3_000}

# name -> (clip it repeats, how often)
_JOINED = {
    "60-last": ("13-last", 5),
    "200-last": ("13-last", 16),
    "film": ("13-last", 61),
    "film-100": ("13-last", 8),
}

# name -> source whose moov is moved to the front
_MOOV_FIRST = {
    "3-first": "3-last",
    "13-first": "13-last",
    "200-first": "200-last",
}


@dataclass(frozen=True, slots=True)
class MediaCache:
    """Films by name, made at the first request and kept in *directory*."""

    directory: Path
    ffmpeg: Path = field(default_factory=lambda: find_program("ffmpeg"))

    def path(self, name: str) -> Path:
        """The finished file *name*; raises BenchError if ffmpeg cannot make it."""
        target = self.directory / f"v{RECIPE_VERSION}" / f"{name}.mp4"
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}.part.mp4")
        try:
            run([self.ffmpeg, "-v", "error", "-y", *self._recipe(name), unfinished])
            unfinished.rename(target)
        except ContenderError as exc:
            message = f"cannot make {target.name}: {exc}"
            raise BenchError(message) from exc
        finally:
            unfinished.unlink(missing_ok=True)
        return target

    def _recipe(self, name: str) -> list[str | Path]:
        if name in _ENCODED:
            return _encode(_ENCODED[name])
        if name in _JOINED:
            source, count = _JOINED[name]
            loops = ["-stream_loop", str(count - 1)]
            return [*loops, "-i", self.path(source), "-c", "copy"]
        source_path = self.path(_MOOV_FIRST[name])
        return ["-i", source_path, "-c", "copy", "-movflags", "+faststart"]


def _encode(video_kbits: int) -> list[str | Path]:
    """Moving test picture under film grain, which no encoder can squeeze to nothing."""
    rate = f"{video_kbits}k"
    picture = f"testsrc2=size=1920x1080:rate={FRAMES_PER_SECOND}"
    keyframes = str(FRAMES_PER_SECOND)
    return [
        *("-f", "lavfi", "-i", picture),
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
        *("-t", str(CLIP_SECONDS), "-vf", "noise=alls=14:allf=t,format=yuv420p"),
        *("-c:v", "libx264", "-preset", "veryfast", "-sc_threshold", "0"),
        *("-g", keyframes, "-keyint_min", keyframes),
        *("-b:v", rate, "-maxrate", rate, "-bufsize", f"{video_kbits // 2}k"),
        *("-c:a", "aac", "-b:a", "128k"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"),
    ]
