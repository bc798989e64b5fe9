"""A batch system in four shell scripts: ``sbatch`` really runs each job as a process of its own.

They print what SLURM's own commands print and nipype's plugin reads: the job's number on submission, a
line a job while it waits or runs, and, once it has ended, either the header alone or (as SLURM forgets
jobs) "Invalid job id" with exit code 1. At most two jobs run at once; the others wait.
"""

from __future__ import annotations

import time
from pathlib import Path

SBATCH = r"""#!/bin/bash
# sbatch [-o FILE] [-e FILE] [-J NAME] [--parsable] [--array=1-N[%M]] [--dependency=afterany:ID] [...]
#        {SCRIPT | --wrap COMMAND}
set -euo pipefail
state=@STATE@
out=slurm-%j.out name=job parsable= array= after= script= wrap=
asked=$*
while [ $# -gt 0 ]; do
  case $1 in
    -o) out=$2; shift;;
    -e) shift;;
    -J) name=$2; shift;;
    --job-name=*) name=${1#*=};;
    --parsable) parsable=1;;
    --array=1-*) array=${1#*=1-}; array=${array%\%*};;
    --dependency=afterany:*) after=${1#*:};;
    --wrap) wrap=$2; shift;;
    -*) ;;
    *) script=$1;;
  esac
  shift
done
exec 9>"$state/lock"; flock 9
number=$(( $(cat "$state/last") + 1 )); echo "$number" > "$state/last"
flock -u 9; exec 9>&-
if [ -n "$wrap" ]; then
  script=$state/$number.sh; printf '#!/bin/bash\n%s\n' "$wrap" > "$script"
fi
refuse() { echo "sbatch: error: $1" >&2; exit 1; }
[ -f "$script" ] || refuse "Unable to open file $script"
[ "$(head -c 2 "$script")" = '#!' ] || refuse "This does not look like a batch script."
cp "$script" "$state/$number.script"  # SLURM runs its copy
printf '%s\n' "$asked" > "$state/$number.asked"
printf '%s\n' "$name" > "$state/$number.name"
now() { echo "$1" > "$state/$number.now"; mv "$state/$number.now" "$state/$number.state"; }  # whole
now PENDING
directive() { sed -n "s/^#SBATCH --$1=//p" "$script" | tail -1; }
cpus=$(directive cpus-per-task) memory=$(directive mem)
[ -z "$cpus" ] || export SLURM_CPUS_PER_TASK=$cpus
case $memory in *G) export SLURM_MEM_PER_NODE=$(( ${memory%G} * 1024 ));; esac
set -m  # a group of processes of its own, to be cancelled as one
(
  while [ -n "$after" ] && [[ $(cat "$state/$after.state") =~ PENDING|RUNNING ]]; do sleep 0.1; done
  exec 8>"$state/slot$(( number % 2 ))"; flock 8
  now RUNNING
  export SLURM_JOB_ID=$number
  worst=0
  for task in $(seq "${array:-1}"); do
    [ -z "$array" ] || export SLURM_ARRAY_TASK_ID=$task
    code=0; bash "$state/$number.script" >> "${out//%j/$number}" 2>&1 8>&- || code=$?
    [ "$code" = 0 ] || worst=$code
  done
  echo "$worst" > "$state/$number.code"
  ended=COMPLETED; [ "$worst" = 0 ] || ended=FAILED
  now "$ended"
) < /dev/null > /dev/null 2>&1 &
set +m; echo $! > "$state/$number.group"
if [ -n "$parsable" ]; then echo "$number"; else echo "Submitted batch job $number"; fi
"""

SQUEUE = r"""#!/bin/bash
# squeue -j NUMBER
set -eu
state=@STATE@
number=$2
now=$(cat "$state/$number.state" 2>/dev/null || echo NONE)
case $now in
  PENDING|RUNNING)
    echo "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)"
    printf '%18s     debug %8.8s %8s %2.2s       0:01      1 node1\n' \
      "$number" "$(cat "$state/$number.name")" user "$now";;
  *)
    if [ $(( number % 2 )) = 0 ]; then
      echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1
    fi
    echo "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)";;
esac
"""

SACCT = r"""#!/bin/bash
# sacct: all jobs, as --parsable2 --format=JobID,State,ExitCode prints them
set -eu
state=@STATE@
echo "JobID|State|ExitCode"
for file in "$state"/*.state; do
  [ -f "$file" ] || continue
  number=$(basename "$file" .state)
  echo "$number|$(cat "$file")|$(cat "$state/$number.code" 2>/dev/null || echo 0):0"
done
"""


SCANCEL = r"""#!/bin/bash
# scancel NUMBER...
set -eu
state=@STATE@
for number in "$@"; do
  case $(cat "$state/$number.state" 2>/dev/null || echo NONE) in
    PENDING|RUNNING)
      kill -KILL -- "-$(cat "$state/$number.group")" 2>/dev/null || true
      echo CANCELLED > "$state/$number.now"; mv "$state/$number.now" "$state/$number.state";;
  esac
done
"""


class Slurm:
    """The batch system's folder of commands, and what it knows about its jobs.

    Parameters
    ----------
    root : Path
        Where commands and state are written.
    """

    def __init__(self, root: Path) -> None:
        self.bin = root / "bin"
        self.state = root / "state"
        self.bin.mkdir(parents=True)
        self.state.mkdir()
        (self.state / "last").write_text("0\n")
        for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("sacct", SACCT), ("scancel", SCANCEL)):
            command = self.bin / name
            command.write_text(text.replace("@STATE@", str(self.state)))
            command.chmod(0o755)

    def asked(self) -> dict[str, str]:
        """Job name -> the arguments it was submitted with."""
        names = {path.stem: path.read_text().strip() for path in self.state.glob("*.name")}
        return {name: (self.state / f"{number}.asked").read_text() for number, name in names.items()}

    def states(self) -> dict[str, str]:
        """Job number -> its state."""
        return {path.stem: path.read_text().strip() for path in self.state.glob("*.state")}

    def wait(self, number: str, seconds: float) -> str:
        """The state in which a job ended."""
        end = time.monotonic() + seconds
        while (state := (self.state / f"{number}.state").read_text().strip()) in ("PENDING", "RUNNING"):
            assert time.monotonic() < end, f"job {number} is still {state}"
            time.sleep(0.05)
        return state
