from __future__ import annotations

from pathlib import Path

import pytest

from diffuserve.core.model import Family
from support import tiny_models
from support.oracles import Kit, Stock, equip
from support.studio import Studio


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    """One random model of each family on disk."""
    root = tmp_path_factory.mktemp("models")
    return {
        Family.SD15: tiny_models.save_sd15(root / "sd15"),
        Family.SDXL: tiny_models.save_sdxl(root / "sdxl"),
    }


@pytest.fixture(scope="session")
def studios(folders: dict[Family, Path]) -> dict[Family, Studio]:
    return {family: Studio(tiny_models.info(folder, family)) for family, folder in folders.items()}


@pytest.fixture(scope="session")
def kits(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Kit]:
    """All that may steer each of those models."""
    root = tmp_path_factory.mktemp("kits")
    return {family: equip(root / family, family, folder) for family, folder in folders.items()}


@pytest.fixture(scope="session")
def equipped(kits: dict[Family, Kit]) -> dict[Family, Studio]:
    """Engines that were told of the whole kit."""
    return {family: Studio(*kit.infos, **kit.tools) for family, kit in kits.items()}


@pytest.fixture(scope="session")
def stocks(kits: dict[Family, Kit]) -> dict[Family, Stock]:
    """diffusers, with the same kit."""
    return {family: Stock(kit) for family, kit in kits.items()}
