"""Run the BIDS validator on a dataset; any error fails, warnings are counted."""

import json
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

dataset = Path(sys.argv[1])
validator = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
result = subprocess.run(
    [str(validator), str(dataset), "--format", "json"], capture_output=True, text=True, check=False
)
issues = json.loads(result.stdout)["issues"]["issues"]
counts = Counter(issue["severity"] for issue in issues)
print(f"{dataset.name}: {counts['error']} errors, {counts['warning']} warnings")
for issue in issues:
    if issue["severity"] == "error":
        print(f"  {issue['code']} {issue.get('location', '')} {issue.get('issueMessage', '')}")
sys.exit(1 if counts["error"] else 0)
