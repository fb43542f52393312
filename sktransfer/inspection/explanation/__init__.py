"""explain: class activation maps, Grad-CAM and occlusion."""

from sktransfer.inspection.explanation.explain import Explanation, explain

__all__ = ["Explanation", "explain"]
