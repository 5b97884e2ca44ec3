from __future__ import annotations

import signal
import threading

import pytest

from features.ctrl_c import ctrl_c_waits


def test_it_waits_for_the_end_of_the_block_and_is_not_lost() -> None:
    done = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), ctrl_c_waits():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest of the block")
    assert done == ["the rest of the block"] and signal.getsignal(signal.SIGINT) is before


def test_without_it_nothing_happens_and_an_error_passes() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c_waits():
        pass
    with pytest.raises(ValueError, match="odd"), ctrl_c_waits():
        raise ValueError("odd")
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_is_never_interrupted() -> None:
    found = []

    def work() -> None:
        with ctrl_c_waits():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
