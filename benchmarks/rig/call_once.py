"""Call a handler once, in this process: `python -m benchmarks.rig.call_once MODULE < event.json`.

The last line that it prints is the result.
"""

from __future__ import annotations

import importlib
import json
import sys
from types import SimpleNamespace

CONTEXT = SimpleNamespace(
    function_name="function",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:function",
    aws_request_id="request-1",
)

if __name__ == "__main__":
    handler = importlib.import_module(sys.argv[1]).handler
    print("\n" + json.dumps(handler(json.load(sys.stdin), CONTEXT)))
