"""Copy the logger's day files from the summit to the office at Brennet.

Runs on the summit computer every night at 02:20. The hour is chosen because the microwave
link is quietest then, and because the satellite fallback is never used for copies: a day
file of 40 MB would cost more than the disk it lands on.

If the copy has failed three nights running, a mail goes to Owen Hartley. One failed night is
normal in a storm and nobody is woken for it.
"""

import hashlib
import shutil
from pathlib import Path

# Day files stay on the summit for 35 days after a verified copy. The longest time the link
# was ever down was 19 days, in February 2018, after the dish iced over and bent its arm.
KEEP_DAYS = 35

# Compressed files saved a third of the space and cost us a week of data when a single
# damaged byte made the archive unreadable. Disks are cheap, so the copies stay plain text.
COMPRESS = False


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file; the reading is done once on each side of the link."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy_day(day_file: Path, office: Path) -> bool:
    """Copy one day file and say whether the copy is the same as the original.

    The copy gets the name ending in ".part" until its checksum agrees, so that the
    office never takes half a file for a whole one.
    """
    part = office / (day_file.name + ".part")
    shutil.copyfile(day_file, part)
    if checksum(part) != checksum(day_file):
        return False
    part.rename(office / day_file.name)
    return True


# Twice a year, in March and September, the office restores one month from the tapes in the
# bank vault at Ondine, to prove that the third copy can be read. In September 2022 it could
# not: the drive had been out of line for a year. Since then two drives are used in turn.
