"""Puts the fake steps in place of the real ones, in any Python process that has this folder on PYTHONPATH."""

import os

if os.environ.get("FAKE_STEPS"):
    import sys
    from importlib.abc import MetaPathFinder
    from importlib.machinery import PathFinder

    def _fake_registry(module):
        module.STEPS = {step: f"tests.fake_steps:{step}" for step in module.STEPS}

    def _fake_history(module):
        from tests import fake_steps

        module.unsettled_history = fake_steps.unsettled_history
        module.require_history = fake_steps.require_history

    _CHANGES = {"pipelines.runs.steps": _fake_registry, "pipelines.history": _fake_history}

    class _Changed(MetaPathFinder):
        """Finds the real module and changes it once it is loaded."""

        def find_spec(self, name, path=None, target=None):
            change = _CHANGES.get(name)
            spec = PathFinder.find_spec(name, path, target) if change else None
            if spec and spec.loader:
                load = spec.loader.exec_module

                def load_and_change(module):
                    load(module)
                    change(module)

                spec.loader.exec_module = load_and_change
            return spec

    sys.meta_path.insert(0, _Changed())
