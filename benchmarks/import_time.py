"""What `import combinet` costs on top of `import numpy`, in milliseconds of processor time.

    python benchmarks/import_time.py [RUNS]

Each run is a process of its own; the least of them counts, since other work only adds.
"""

import os
import subprocess
import sys

PROGRAM = """
import time
import numpy
start = time.process_time()
import combinet
print((time.process_time() - start) * 1e3)
"""


def main() -> None:
    """Print the least and the median."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    command = [sys.executable, "-c", PROGRAM]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
        for _ in range(runs + 1)
    ]
    times = sorted(map(float, outputs[1:]))  # the first one compiles
    print(f"least {times[0]:.1f} ms, median {times[runs // 2]:.1f} ms of {runs}")


if __name__ == "__main__":
    main()
