# SPDX-License-Identifier: GPL-2.0
"""The same host in Bochs, which models what QEMU's TCG does not: global TLB entries above all. About ten times slower.
EMULATOR=bochs of tools/boot, and tests. Limits inside are emulated seconds."""
import os
import subprocess

from kit import die
from machine import Machine

ISOLINUX = "/usr/lib/ISOLINUX/isolinux.bin"
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
SETTINGS = """
cpu: model={model}, count={cpus}, ips=50000000, ignore_bad_msrs=1
clock: sync=none
memory: guest={mem}, host={mem}
com1: enabled=1, mode=file, dev={log}
com2: enabled=1, mode=file, dev={folder}/link
display_library: rfb, options="timeout=0"
boot: cdrom
ata0: enabled=0
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata1-master: type=cdrom, path={folder}/cd.iso, status=inserted
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
panic: action=fatal
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
log: {folder}/bochs.log
"""


class Pipe:
    """The link, in one direction only; for both Bochs would need a TCP port."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def fileno(self):
        return self.fd

    def recv(self, size):
        return os.read(self.fd, size)

    def close(self):
        os.close(self.fd)


class Bochs(Machine):
    """A Machine in another emulator; without a monitor, and the job gets no input."""

    boot_factor = 4

    def __init__(self, *args, model="corei7_haswell_4770", **settings):
        super().__init__(*args, model=model, **settings)

    def offer_link(self):
        os.mkfifo(self.folder / "link")
        self.pipe = Pipe(self.folder / "link")

    def take_link(self):
        return self.pipe

    def command(self):
        cd = self.folder / "cd"
        (cd / "isolinux").mkdir(parents=True)
        try:
            for name in ISOLINUX, LDLINUX:
                (cd / "isolinux" / name.rsplit("/", 1)[1]).write_bytes(open(name, "rb").read())
        except FileNotFoundError as error:
            die(f"{error.filename} is missing", "make packages")
        (cd / "bzImage").write_bytes((self.kernel / "bzImage").read_bytes())
        (self.folder / "initrd").rename(cd / "initrd")
        (cd / "isolinux/isolinux.cfg").write_text(
            f"DEFAULT linux\nLABEL linux\nKERNEL /bzImage\nINITRD /initrd\nAPPEND {self.cmdline()}\n")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", self.folder / "cd.iso", "-b", "isolinux/isolinux.bin", "-c",
                        "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", cd],
                       check=True, capture_output=True)
        (self.folder / "bochsrc").write_text(SETTINGS.format(
            model=self.model, cpus=self.cpus, mem=self.mem, log=self.log, folder=self.folder))
        (self.folder / "debugger").write_text("c\n")  # Debian's Bochs starts in its debugger
        return ["bochs", "-q", "-f", str(self.folder / "bochsrc"), "-rc", str(self.folder / "debugger")]
