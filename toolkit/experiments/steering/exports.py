"""The picked latents as steering vectors in files, for other programs and for later."""

from toolkit.experiments.run import Run
from toolkit.experiments.steering import SteeringConfig
from toolkit.experiments.steering.measure import Measured
from toolkit.interventions.edits import steer
from toolkit.interventions.steering_files import lm_eval_file, plain_file
from toolkit.outputs import LM_EVAL_VECTOR, PLAIN_VECTOR


def vector_files(settings: SteeringConfig, run: Run, found: Measured) -> dict[str, bytes]:
    """Return the files by name; none with `aims`, where each category has a latent of its own.

    lm-evaluation-harness cannot steer at layer 0: there its file is left out.
    """
    if settings.aims:
        return {}
    latents, strength = _latents(found), exported_strength(settings)
    edit = steer(run.crosscoder, latent=latents, strength=strength, model=settings.model, layer=run.layer)
    model = run.models.models[settings.model]
    files = {PLAIN_VECTOR: plain_file(edit, model, latent=latents, strength=strength)}
    return files | ({LM_EVAL_VECTOR: lm_eval_file(edit, model)} if run.layer > 0 else {})


def loading_code(settings: SteeringConfig, run: Run, found: Measured) -> str:
    """Lines of Python that load the vector, with the command for lm-evaluation-harness; none with `aims`."""
    if settings.aims:
        return ""
    folder, model = settings.output.out.as_posix(), run.models.models[settings.model]
    latents = " + ".join(map(str, _latents(found)))
    lines = [
        "from toolkit import load_steering_vector",
        f'edit = load_steering_vector("{folder}/{PLAIN_VECTOR}")  # latent {latents}, strength'
        f" {exported_strength(settings):+g}, for {settings.model}.generate(prompt, edit=edit)",
    ]
    if run.layer > 0:
        lines += [
            f"# lm-evaluation-harness scores tasks under it, and steers the prompt too{_unlike(settings)}:",
            f"# lm_eval --model steered --model_args pretrained={model.source},steer_path={folder}/{LM_EVAL_VECTOR}"
            " --tasks gsm8k",
        ]
    return "\n".join(lines)


def exported_strength(settings: SteeringConfig) -> float:
    """The strongest of the strengths between which slopes are measured; the lowest where latents are subtracted."""
    strengths = settings.settings().slope_strengths
    return min(strengths) if settings.suppress else max(strengths)


def _unlike(settings: SteeringConfig) -> str:
    """A warning: an edit of the prompt can change answers the other way."""
    return "" if settings.edit_prompt else ", which was not steered here: --edit-prompt measures what it does then"


def _latents(found: Measured) -> tuple[int, ...]:
    return next(iter(found.study.groups.values())).latents
