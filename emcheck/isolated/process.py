"""The parent's end of a child: questions, answers, and how it died if it did."""

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

#: The search path comes before everything else: modules in the working directory that happen
#: to have the name of a library are not meant. What the terminal sends, the parent hears.
_START = """
import sys
sys.path[:], sys.argv[1:], words = sys.argv[4:], [], [int(word) for word in sys.argv[1:4]]
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from emcheck.isolated.child import main
main(*words)
"""

#: Seconds between two looks at whether a silent child is still there: what it has started
#: itself may hold its end of the pipe open.
_GLANCE = 0.5

#: Seconds that a child has to end once it is no longer asked.
_PATIENCE = 5.0

#: Seconds beyond a time limit that a child may be silent: it also loads libraries and compiles.
GRACE = 20.0

#: How an answer begins; everything else is said on the way.
_REPLIES = frozenset({"answer", "refused", "raised"})

#: Seconds for the last words of a child that is about to be killed.
_LAST = 0.3

#: Where code lies that is nobody's layer.
_LIBRARIES = (
    str(Path(__file__).parent.parent) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")),
    "<",
)


class Died(Exception):
    """The child is gone.

    Args:
        how: ``the process died by signal 11 (SIGSEGV)``.
        doing: what it said last that it was about to do, empty if it said nothing.
        where: the line of the layer at which it died, empty if nobody knows.
        late: it was killed because it did not answer.
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
        """The answer to a request.

        Args:
            name: of the request.
            given: what goes with it.
            patience: seconds of silence after which the child is killed, until it says of a time
                limit that it begins: from then on twice those and a grace. They are counted in
                glances: those in which this process was stopped itself do not count.

        Raises:
            Died: the process ended instead.
            ValueError: what the child refuses.
            RuntimeError: an exception in the child that is no answer, with its traceback.
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
        except BaseException:  # an interrupt, a time limit of somebody: the answer is lost
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
        """End the process: by asking for nothing more, or by force."""
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
        """The next line of the child.

        Raises:
            EOFError: there will be none, or it is none that the child's main loop writes.
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
        """Ask where it is, by a signal that is heard within compiled code too; then end it.

        Raises:
            EOFError: always: nothing more is to be heard.
        """
        self._late = silent
        if hasattr(signal, "SIGUSR1"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGUSR1)
            time.sleep(_LAST)
        self._process.kill()
        raise EOFError

    def _ending(self) -> str:
        """How the process ended, in words."""
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
        """``mine.py, line 12, in forward``: from the traceback that a signal leaves behind."""
        self._last_words.seek(0)
        words = self._last_words.read().decode(errors="replace")
        for path, line, function in re.findall(r'File "(.+)", line (\d+) in (.+)', words):
            if not path.startswith(_LIBRARIES):
                return f"{Path(path).name}, line {line}, in {function}"
        return ""
