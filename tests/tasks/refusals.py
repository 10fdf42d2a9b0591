"""What a user reads when a task refuses something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cotexp.settings.base import ConfigError


def refusal(action: Callable[..., object], *arguments: Any, **more: Any) -> str:
    """The one line of the ConfigError that the call raises."""
    with pytest.raises(ConfigError) as error:
        action(*arguments, **more)
    assert "\n" not in str(error.value)
    return str(error.value)
