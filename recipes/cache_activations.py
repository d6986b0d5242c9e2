"""Harvest activations once, so that any number of crosscoders can be trained on them without running a model.

    python recipes/cache_activations.py
    python recipes/cache_activations.py --pair qwen-1.5b --tokens 10000000 --cache runs/qwen-1.5b-cache
    python recipes/cache_activations.py --cache runs/cache --repair

Without arguments it stores what the default run of train_crosscoder.py reads of the embedded pair: 1.2 GB, in a minute
on one core. With the same settings, `train_crosscoder.py --cache FOLDER` and sweep.py then read the cache, and end in
the same weights as without one. `train_crosscoder.py --cache FOLDER` also fills a cache by itself, while it trains.

Expect storing to lose nothing (fp32), 0.000002 of the squared norm (bf16), or 0.0001 of it (int8). Only the layers
before the site are loaded. Stopped at any moment, it continues when it is called again; a kill loses at most the last
minute. A missing or corrupt shard is named, and --repair harvests that shard alone. Several processes, started by
accelerate launch or torchrun, divide the --shards of the text among them.
"""

from dataclasses import replace

from toolkit.command_line.recipe import run_recipe
from toolkit.settings.crosscoder_run import CacheConfig, parse_command_line


def main(config: CacheConfig) -> None:
    """Text and two models in; a folder of their activations out."""
    # These take seconds to import.
    from toolkit.experiments.crosscoder.page import describe_pair, run_header
    from toolkit.harvest.cache_shards import bytes_a_token
    from toolkit.reports.console import RunConsole
    from toolkit.training.caching import describe, fill, mend
    from toolkit.training.memory import require_memory
    from toolkit.training.ranks import on_own_device, open_ranks, share_out
    from toolkit.training.remote_use import forecast, traffic
    from toolkit.training.streams import open_cache, open_text

    with open_ranks() as ranks:
        if config.repair and ranks.size > 1:
            raise ValueError(f"--repair takes one process, and these are {ranks.size}: start it without a launcher")
        config = replace(config, feed=share_out(config.feed, config.output, ranks))
        console = RunConsole(quiet=not ranks.is_first)
        require_memory(config, ranks=ranks)
        with console.stage("loading models"):
            pair = config.models.open_to_site(on_own_device(config.where, ranks), config.layers)
        corpus = open_text(config.text, config.seed)
        header = run_header(config, pair)
        console.header(
            f"Activations of {describe_pair(config.models)}",
            {name: header[name] for name in ("models", "site", "device", "data")} | {"cache": str(config.feed.cache)},
        )
        shards = range(config.feed.shards or 1)
        caches = [open_cache(config, pair, corpus, shard, whole=not config.repair) for shard in shards]
        if config.repair:
            with console.stage("repair"):
                mended = ", ".join(name for cache in caches for name in mend(cache))
            console.note(f"harvested again: {mended}" if mended else "nothing to repair: every shard is whole")
            return
        if config.where.remote:
            console.note(forecast(pair, len(shards) * config.tokens_read, 0.0))
        token_bytes = bytes_a_token(config.feed.stored_dtype, len(pair.names) * len(pair.layers), pair.d_model)
        for cache in caches[ranks.rank :: ranks.size]:
            with console.progress("harvesting", config.tokens_read, start=cache.folder.tokens) as tick:
                for tokens in fill(cache, config.tokens_read):
                    done = min(tokens, config.tokens_read)
                    tick(done, received=traffic(pair).received, stored=tokens * token_bytes)
        ranks.wait()
    for cache in caches:
        cache.folder.reload()
        if cache.folder.tokens < config.tokens_read:
            console.warn(f"the text ended after {cache.folder.tokens:,} of {config.tokens_read:,} tokens")
    console.header("Cache", describe([cache.folder for cache in caches]))
    console.note(f"to use it, add --cache {config.feed.cache} to the same settings of train_crosscoder.py or sweep.py")


if __name__ == "__main__":
    run_recipe(main, lambda arguments: parse_command_line(arguments, CacheConfig), again="continue")
