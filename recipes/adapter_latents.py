"""What makes each latent of an adapter fire, in which part of an answer, and which tokens does it promote?

    python recipes/adapter_latents.py
    python recipes/adapter_latents.py --latents 3/17 0/225 --tokens 131072
    python recipes/adapter_latents.py --run runs/adapter-1.5b --out runs/adapter-1.5b/latents --tokens 1000000

An adapter has a sparse transcoder in each layer, which stands for what distillation changed in that layer's MLP.
Without arguments this examines all latents of the shipped adapter on held-out answers of the embedded pair. Open
latents.html: sort by layer, frequency, lift or part of the answer, search for a token or by conditions such as
layer=3, open a latent.

Examples are kept in files beside the page; a stopped run continues from its last save. Latents of 28 layers of 8,192
take 1.3 GB of memory, 1.8 GB of files of examples and 1.8 GB of pages; --layers-together 7 takes a quarter of that
memory and reads the text four times. Long answers need a larger --row-length: one whose thinking is cut off counts in
no part of answers.

On the embedded pair the best latent and the best five together are tested on the behaviours that were written into
answers; the control is as many random directions of each layer's MLP input, firing as often. It takes 40 s on a core.
Hu et al. 2026 show the strongest examples and promoted tokens; the test on planted behaviours is ours.
"""

from toolkit.command_line.recipe import run_recipe
from toolkit.experiments.adapter_latents import AdapterLatentsConfig
from toolkit.experiments.examine import publish

if __name__ == "__main__":
    run_recipe(publish, AdapterLatentsConfig, again="continue")
