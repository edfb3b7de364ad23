"""Background field removal: from total to local field, a module a family of methods."""

from .ismv import ismv
from .lbv import lbv
from .pdf import pdf
from .resharp import resharp
from .sharp import sharp, vsharp

__all__ = ["ismv", "lbv", "pdf", "resharp", "sharp", "vsharp"]
