"""python3 -m standin: runs the stand-in until SIGTERM or SIGINT."""

import argparse
import os
import signal
from datetime import date
from pathlib import Path

from . import GENERATIONS, Standin, samples


def main() -> None:
    parser = argparse.ArgumentParser(prog="standin", description="A stand-in for OpenMRS.")
    parser.add_argument("--generation", choices=GENERATIONS, default="v2")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one (the default)")
    parser.add_argument("--orthanc", metavar="URL", help="called back while answering an update")
    parser.add_argument("--port-file", type=Path, help="gets the port once the server listens")
    parser.add_argument("--patients", type=int, default=0, metavar="N", help="sample patients")
    options = parser.parse_args()

    # Blocked before any thread starts, so that sigwait below is the one who gets them.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    standin = Standin(options.generation, options.host, options.port, orthanc_url=options.orthanc)
    for sample in samples.patients(options.patients, date.today()):
        sample.add_to(standin.records)
    with standin:
        if options.port_file:  # whole or not there at all, for whoever polls it
            draft = options.port_file.with_name(options.port_file.name + ".new")
            draft.write_text(f"{standin.port}\n")
            os.replace(draft, options.port_file)
        print(
            f"OpenMRS stand-in {standin.generation}: {standin.url}"
            f" worklist {standin.worklist_url} update {standin.update_url}",
            flush=True,
        )
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
