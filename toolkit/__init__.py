"""Crosscoders on nnsight: what reasoning distillation changes inside a language model."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.adapters.adapted_model import AdaptedModel
    from toolkit.adapters.opening import open_adapter
    from toolkit.adapters.train_adapter import train_adapter
    from toolkit.annotation.server_choice import ServerChoice
    from toolkit.attribution.attributing import attribute
    from toolkit.attribution.graph import AttributionGraph
    from toolkit.dictionaries.adapter_storage import save_adapter
    from toolkit.dictionaries.configs import TrainingConfig
    from toolkit.dictionaries.crosscoder import Crosscoder
    from toolkit.dictionaries.latent_scaling import latent_scaling
    from toolkit.dictionaries.metrics import evaluate
    from toolkit.dictionaries.stability import stability
    from toolkit.dictionaries.train_crosscoder import train_crosscoder
    from toolkit.dictionaries.transcoders import Adapter
    from toolkit.experiments.ablation import AblationConfig, AblationSettings
    from toolkit.experiments.ablation.ablate import ablate
    from toolkit.experiments.adapter_evaluation import AdapterEvaluationConfig
    from toolkit.experiments.adapter_latents import AdapterLatentsConfig
    from toolkit.experiments.adapter_run import AdapterRun
    from toolkit.experiments.attribution import AttributionConfig
    from toolkit.experiments.compare_methods import CompareMethodsConfig
    from toolkit.experiments.costs import RunCostsConfig
    from toolkit.experiments.crosscoder_attribution import CrosscoderAttributionConfig
    from toolkit.experiments.examine import examine
    from toolkit.experiments.geneft import GenEFTConfig
    from toolkit.experiments.harmonic_probes import CentreSteering, HarmonicProbesConfig
    from toolkit.experiments.hesitation import HesitationConfig
    from toolkit.experiments.latent_annotation import LatentAnnotationConfig
    from toolkit.experiments.latent_annotation.annotate import annotate
    from toolkit.experiments.latent_classes import LatentClassesConfig
    from toolkit.experiments.layer_divergence import LayerDivergenceConfig
    from toolkit.experiments.prepared_data import PrepareConfig
    from toolkit.experiments.reasoning_evaluation import (
        ArmDictionaries,
        ReasoningEvaluationConfig,
        ReasoningEvaluationSettings,
    )
    from toolkit.experiments.reasoning_evaluation.evaluate_reasoning import evaluate_reasoning
    from toolkit.experiments.run import Run
    from toolkit.experiments.steering import SteeringConfig
    from toolkit.experiments.stitching import StitchingConfig
    from toolkit.experiments.tokenizers import TokenizerEvaluationConfig
    from toolkit.experiments.top_examples import TopExamplesConfig
    from toolkit.experiments.word_geometry import WordGeometryConfig
    from toolkit.harvest.harvesting import harvest_chunks, harvest_texts
    from toolkit.interventions.clamping import SetLatent
    from toolkit.interventions.edits import move_toward, shift, steer
    from toolkit.interventions.steering_files import export_lm_eval, load_steering_vector, save_steering_vector
    from toolkit.latents.classification import classify
    from toolkit.latents.logit_lens import logit_lens
    from toolkit.latents.reading import read_latents
    from toolkit.models.files.model_files import Checkpoint
    from toolkit.models.model.sampling import Sampling
    from toolkit.models.model_set import ModelSet
    from toolkit.models.pair import ModelPair
    from toolkit.models.where import Where
    from toolkit.probes.fitting import fit_harmonic, fit_logistic
    from toolkit.probes.harmonic import HarmonicLinear
    from toolkit.settings.adapters import AdapterChoice
    from toolkit.settings.findings import CrosscoderChoice, FindingsOutput, TextChoice
    from toolkit.settings.models import ControlledModels, ModelChoice
    from toolkit.stitching.fitting import fit_stitch
    from toolkit.stitching.opening import StitchableModels
    from toolkit.stitching.stitch import Stitch

__all__ = [
    "AblationConfig",
    "AblationSettings",
    "AdaptedModel",
    "Adapter",
    "AdapterChoice",
    "AdapterEvaluationConfig",
    "AdapterLatentsConfig",
    "AdapterRun",
    "ArmDictionaries",
    "AttributionConfig",
    "AttributionGraph",
    "CentreSteering",
    "Checkpoint",
    "CompareMethodsConfig",
    "ControlledModels",
    "Crosscoder",
    "CrosscoderAttributionConfig",
    "CrosscoderChoice",
    "FindingsOutput",
    "GenEFTConfig",
    "HarmonicLinear",
    "HarmonicProbesConfig",
    "HesitationConfig",
    "LatentAnnotationConfig",
    "LatentClassesConfig",
    "LayerDivergenceConfig",
    "ModelChoice",
    "ModelPair",
    "ModelSet",
    "PrepareConfig",
    "ReasoningEvaluationConfig",
    "ReasoningEvaluationSettings",
    "Run",
    "RunCostsConfig",
    "Sampling",
    "ServerChoice",
    "SetLatent",
    "SteeringConfig",
    "Stitch",
    "StitchableModels",
    "StitchingConfig",
    "TextChoice",
    "TokenizerEvaluationConfig",
    "TopExamplesConfig",
    "TrainingConfig",
    "Where",
    "WordGeometryConfig",
    "ablate",
    "annotate",
    "attribute",
    "classify",
    "evaluate",
    "evaluate_reasoning",
    "examine",
    "export_lm_eval",
    "fit_harmonic",
    "fit_logistic",
    "fit_stitch",
    "harvest_chunks",
    "harvest_texts",
    "latent_scaling",
    "load_steering_vector",
    "logit_lens",
    "move_toward",
    "open_adapter",
    "read_latents",
    "save_adapter",
    "save_steering_vector",
    "shift",
    "stability",
    "steer",
    "train_adapter",
    "train_crosscoder",
]
_HOMES = {
    "AblationConfig": "experiments.ablation",
    "AblationSettings": "experiments.ablation",
    "AdaptedModel": "adapters.adapted_model",
    "Adapter": "dictionaries.transcoders",
    "AdapterChoice": "settings.adapters",
    "AdapterEvaluationConfig": "experiments.adapter_evaluation",
    "AdapterLatentsConfig": "experiments.adapter_latents",
    "AdapterRun": "experiments.adapter_run",
    "ArmDictionaries": "experiments.reasoning_evaluation",
    "AttributionConfig": "experiments.attribution",
    "AttributionGraph": "attribution.graph",
    "CentreSteering": "experiments.harmonic_probes",
    "Checkpoint": "models.files.model_files",
    "CompareMethodsConfig": "experiments.compare_methods",
    "ControlledModels": "settings.models",
    "Crosscoder": "dictionaries.crosscoder",
    "CrosscoderChoice": "settings.findings",
    "FindingsOutput": "settings.findings",
    "CrosscoderAttributionConfig": "experiments.crosscoder_attribution",
    "GenEFTConfig": "experiments.geneft",
    "HarmonicLinear": "probes.harmonic",
    "HarmonicProbesConfig": "experiments.harmonic_probes",
    "HesitationConfig": "experiments.hesitation",
    "LatentAnnotationConfig": "experiments.latent_annotation",
    "LatentClassesConfig": "experiments.latent_classes",
    "LayerDivergenceConfig": "experiments.layer_divergence",
    "ModelChoice": "settings.models",
    "ModelPair": "models.pair",
    "ModelSet": "models.model_set",
    "PrepareConfig": "experiments.prepared_data",
    "ReasoningEvaluationConfig": "experiments.reasoning_evaluation",
    "ReasoningEvaluationSettings": "experiments.reasoning_evaluation",
    "Run": "experiments.run",
    "RunCostsConfig": "experiments.costs",
    "Sampling": "models.model.sampling",
    "ServerChoice": "annotation.server_choice",
    "SetLatent": "interventions.clamping",
    "SteeringConfig": "experiments.steering",
    "Stitch": "stitching.stitch",
    "StitchableModels": "stitching.opening",
    "StitchingConfig": "experiments.stitching",
    "TextChoice": "settings.findings",
    "TokenizerEvaluationConfig": "experiments.tokenizers",
    "TopExamplesConfig": "experiments.top_examples",
    "TrainingConfig": "dictionaries.configs",
    "Where": "models.where",
    "WordGeometryConfig": "experiments.word_geometry",
    "ablate": "experiments.ablation.ablate",
    "annotate": "experiments.latent_annotation.annotate",
    "attribute": "attribution.attributing",
    "classify": "latents.classification",
    "evaluate": "dictionaries.metrics",
    "evaluate_reasoning": "experiments.reasoning_evaluation.evaluate_reasoning",
    "examine": "experiments.examine",
    "export_lm_eval": "interventions.steering_files",
    "fit_harmonic": "probes.fitting",
    "fit_logistic": "probes.fitting",
    "fit_stitch": "stitching.fitting",
    "harvest_chunks": "harvest.harvesting",
    "harvest_texts": "harvest.harvesting",
    "latent_scaling": "dictionaries.latent_scaling",
    "load_steering_vector": "interventions.steering_files",
    "logit_lens": "latents.logit_lens",
    "move_toward": "interventions.edits",
    "open_adapter": "adapters.opening",
    "read_latents": "latents.reading",
    "save_adapter": "dictionaries.adapter_storage",
    "save_steering_vector": "interventions.steering_files",
    "shift": "interventions.edits",
    "stability": "dictionaries.stability",
    "steer": "interventions.edits",
    "train_adapter": "adapters.train_adapter",
    "train_crosscoder": "dictionaries.train_crosscoder",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, so that a notebook completes them."""
    return __all__
