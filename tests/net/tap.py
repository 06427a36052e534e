"""Named checks as TAP, one line each, which tests/net/run counts case by case."""


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def ok(self, condition, name, detail=""):
        """One check; `detail` is shown when it fails. Returns whether it passed."""
        if condition:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'' if condition else 'not '}ok {self.passed + self.failed} - {name}", flush=True)
        if not condition and detail != "":
            print("# " + str(detail).replace("\n", "\n# "), flush=True)
        return bool(condition)

    def close(self):
        """The plan and the count; returns the program's exit status."""
        print(f"1..{self.passed + self.failed}")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0
