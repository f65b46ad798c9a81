"""The parent's side of a child process: requests, answers, and how the child died."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from emcheck.isolated.wire import Message

#: The search path is set first, so that no module in the working directory is taken for a
#: library of the same name. The parent alone handles Ctrl-C of the terminal.
_START = """
import sys
sys.path[:], sys.argv[1:], words = sys.argv[4:], [], [int(word) for word in sys.argv[1:4]]
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from emcheck.isolated.child import main
main(*words)
"""

#: Seconds between two looks at whether a silent child is still alive: programs that it has
#: started may hold its end of the pipe open.
_GLANCE = 0.5

#: Seconds that a child has to end once no more requests come.
_PATIENCE = 5.0

#: Seconds beyond a time limit that a child may be silent: it also loads libraries and compiles.
GRACE = 20.0

#: Keys of an answer; every other message is a notice before it.
_REPLIES = frozenset({"answer", "refused", "raised"})

#: Seconds that a child has to write its traceback before it is killed.
_LAST = 0.3

#: Where code lies that is not a layer: this package, the standard library, other packages.
_LIBRARIES = (
    str(Path(__file__).parent.parent) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")),
    "<",
)


class Died(Exception):
    """The child process has ended.

    Args:
        how: ``the process died by signal 11 (SIGSEGV)``.
        doing: what it last announced, empty if it announced nothing.
        where: the line of the layer at which it died, empty if unknown.
        late: whether it was killed because it did not answer.
    """

    def __init__(self, how: str, doing: str, where: str, late: bool) -> None:
        super().__init__(how)
        self.how, self.doing, self.where, self.late = how, doing, where, late


class Child:
    """A process that answers requests; its stdin, stdout and stderr are those of this one."""

    def __init__(self) -> None:
        theirs, self._requests = os.pipe()
        self._replies, answers = os.pipe()
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115
        passed = (theirs, answers, self._last_words.fileno())
        command = [sys.executable, "-c", _START, *map(str, passed), *sys.path]
        try:
            self._process = subprocess.Popen(command, pass_fds=passed)
        finally:
            os.close(theirs)
            os.close(answers)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)
        self._buffer = b""
        self._late = 0.0

    def ask(self, name: str, given: Any = None, patience: float = math.inf) -> Any:
        """Return the answer to a request.

        Args:
            name: the name of the request.
            given: its argument.
            patience: seconds of silence after which the child is killed; once it announces a time
                limit, they are twice that limit and a grace. They are counted in glances, so
                that time in which this process itself was stopped does not count.

        Raises:
            Died: the process ended instead.
            ValueError: the child refuses the request.
            RuntimeError: an unexpected exception in the child, with its traceback.
        """
        doing = ""
        try:
            with contextlib.suppress(BrokenPipeError):
                self._send({name: given})
            while not (message := self._message(patience)).keys() & _REPLIES:
                doing = message.get("notice", doing)
                patience = 2 * message["limit"] + GRACE if "limit" in message else patience
        except EOFError as ended:
            late = bool(self._late)
            raise Died(self._ending(), doing, self._where(), late) from ended
        except BaseException:  # an interrupt or a caller's time limit: the answer is lost
            self._process.kill()
            self.close()
            raise
        if "refused" in message:
            raise ValueError(message["refused"])
        if "raised" in message:
            raise RuntimeError(f"in the process of the layer:\n{message['raised']}")
        return message["answer"]

    @property
    def closed(self) -> bool:
        return self._last_words.closed

    def close(self) -> None:
        """End the process: send no more requests, wait, then use force."""
        if self.closed:
            return
        os.close(self._requests)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._selector.close()
            os.close(self._replies)
            self._last_words.close()

    def _send(self, message: Message) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._requests, data) :]

    def _message(self, patience: float) -> Message:
        """Return the next message of the child.

        Raises:
            EOFError: there will be none, or the line is not one that the child's main loop writes.
        """
        while b"\n" not in self._buffer:
            self._buffer += self._piece(patience)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message: Message = json.loads(line)
        except ValueError as error:
            raise EOFError from error
        return message

    def _piece(self, patience: float) -> bytes:
        silent = 0.0
        while not self._selector.select(_GLANCE):
            silent += _GLANCE
            if silent > patience:
                self._kill(silent)
            if self._process.poll() is not None and not self._selector.select(0):
                raise EOFError
        piece = os.read(self._replies, 1 << 16)
        if not piece:
            raise EOFError
        return piece

    def _kill(self, silent: float) -> None:
        """Ask the child where it is, by a signal that works in compiled code too; then kill it.

        Raises:
            EOFError: always, since no answer can follow.
        """
        self._late = silent
        if hasattr(signal, "SIGUSR1"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGUSR1)
            time.sleep(_LAST)
        self._process.kill()
        raise EOFError

    def _ending(self) -> str:
        """Return in words how the process ended."""
        if self._late:
            self._process.wait()
            return f"the process did not answer for {self._late:.0f} s and was killed"
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "the process closed its line to emcheck"
        if code >= 0:
            return f"the process exited with code {code}"
        try:
            return f"the process died by signal {-code} ({signal.Signals(-code).name})"
        except ValueError:  # a real-time signal has no name
            return f"the process died by signal {-code}"

    def _where(self) -> str:
        """Return ``mine.py, line 12, in forward``, from the traceback that a signal leaves."""
        self._last_words.seek(0)
        words = self._last_words.read().decode(errors="replace")
        for path, line, function in re.findall(r'File "(.+)", line (\d+) in (.+)', words):
            if not path.startswith(_LIBRARIES):
                return f"{Path(path).name}, line {line}, in {function}"
        return ""
