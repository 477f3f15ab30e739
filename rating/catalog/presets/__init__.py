"""The price models that a catalog file can name: one file a family, each with its formula and a worked bill."""

from rating.catalog.presets.allowance import AllowancePrice
from rating.catalog.presets.capacity import BlocksPrice, CapacityPrice
from rating.catalog.presets.carried import DynamicPrice
from rating.catalog.presets.chain import ChainPrice
from rating.catalog.presets.flat import FeePrice, FlatPrice, OneTimePrice
from rating.catalog.presets.matrix import MatrixPrice, WeightedMatrixPrice
from rating.catalog.presets.package import PackagePrice, TieredPackagePrice
from rating.catalog.presets.per_request import PerRequestPrice
from rating.catalog.presets.per_unit import UnitPrice
from rating.catalog.presets.percentage import BasisPointsPrice, PercentagePrice
from rating.catalog.presets.telecom import CallPrice
from rating.catalog.presets.tiered import (
    GraduatedPercentagePrice,
    GraduatedPrice,
    StairstepPrice,
    VolumePercentagePrice,
    VolumePrice,
)

TieredPrice = GraduatedPrice | VolumePrice | StairstepPrice | GraduatedPercentagePrice | VolumePercentagePrice
UsagePrice = (
    UnitPrice
    | TieredPrice
    | PackagePrice
    | TieredPackagePrice
    | PerRequestPrice
    | PercentagePrice
    | BasisPointsPrice
    | DynamicPrice
    | MatrixPrice
    | WeightedMatrixPrice
    | AllowancePrice
    | BlocksPrice
    | CapacityPrice
    | ChainPrice
    | CallPrice
)
Price = FeePrice | UsagePrice

__all__ = [
    "AllowancePrice",
    "BasisPointsPrice",
    "BlocksPrice",
    "CallPrice",
    "CapacityPrice",
    "ChainPrice",
    "DynamicPrice",
    "FeePrice",
    "FlatPrice",
    "GraduatedPercentagePrice",
    "GraduatedPrice",
    "MatrixPrice",
    "OneTimePrice",
    "PackagePrice",
    "PerRequestPrice",
    "PercentagePrice",
    "Price",
    "StairstepPrice",
    "TieredPackagePrice",
    "UnitPrice",
    "UsagePrice",
    "VolumePercentagePrice",
    "VolumePrice",
    "WeightedMatrixPrice",
]
