"""Suffixes of files without text (images, audio, archives, binaries): listings skip and count them."""

from __future__ import annotations

#: Lower case, with the dot. Such files are skipped and counted, not quarantined.
MEDIA_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".ico", ".svg", ".tif", ".tiff", ".heic"),
        *(".mp3", ".wav", ".flac", ".ogg", ".m4a", ".mp4", ".mov", ".avi", ".mkv", ".webm"),
        *(".woff", ".woff2", ".ttf", ".otf", ".eot"),
        *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".jar", ".whl"),
        *(".so", ".dll", ".dylib", ".exe", ".o", ".a", ".pyc", ".class", ".bin"),
        *(".db", ".sqlite", ".safetensors", ".pt", ".onnx"),
    }
)
