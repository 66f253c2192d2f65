"""Runs the tests of one case file on MicroPython; `micropython_cases.py` starts it and reads it.

    micropython run_cases.py MARK MODULE TEST ...

Prints `MARK started TEST` and `MARK passed TEST` or `MARK failed TEST` round what each test prints
itself; a failure's traceback comes before its last line.
"""

import gc
import sys


def run(mark, module, names):
    for name in names:
        print(mark, "started", name)
        try:
            call(getattr(module, name))
            verdict = "passed"
        except BaseException as error:  # SystemExit, too, is a failure of the one test alone
            sys.print_exception(error)
            verdict = "failed"
        print(mark, verdict, name)
        gc.collect()


def call(test):
    result = test()
    # MicroPython's coroutines are generators. A plain test pays nothing for asyncio.
    if hasattr(result, "send"):
        import asyncio

        try:
            asyncio.run(result)
        finally:
            asyncio.new_event_loop()  # the tasks that a test leaves behind end with it


def main(mark, module, *names):
    # The script's own folder would come first: a case must find `host_tests.x`, never `x`.
    sys.path.pop(0)
    run(mark, __import__(module, None, None, names), names)


main(*sys.argv[1:])
