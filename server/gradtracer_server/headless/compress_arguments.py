"""What `compress` takes."""

from __future__ import annotations

from gradtracer_server.headless.argument_parts import Commands, command, output_format


def add_compress(commands: Commands) -> None:
    """`compress`."""
    compress = command(
        commands,
        "compress",
        "make a checkpoint smaller by a recipe",
        "Load a checkpoint into the model that --model builds, compress it by a recipe, write it "
        "beside the checkpoint, and measure it before and after where --evaluate is given. "
        "Modules are looked for in this folder.",
        """\
  gradtracer compress model.pt --recipe gradtracer_recipe.json --model train:build
  gradtracer compress model.pt --recipe r.json --model train:build --evaluate train:ndcg
  gradtracer compress model.safetensors --recipe r.json --model train:build --layer item_emb""",
    )
    compress.add_argument("checkpoint", metavar="CHECKPOINT", help="saved weights, .pt or so")
    compress.add_argument("--recipe", required=True, metavar="FILE", help="gradtracer_recipe.json")
    compress.add_argument(
        "--model", required=True, metavar="MODULE:FUNCTION", help="builds the model as it was"
    )
    compress.add_argument(
        "--evaluate", default="", metavar="MODULE:FUNCTION", help="gives a model's quality"
    )
    compress.add_argument(
        "-o", "--output", default="", metavar="FILE", help="default: NAME.compressed.pt"
    )
    compress.add_argument(
        "--layer", action="append", default=[], metavar="LAYER", help="this layer of the recipe"
    )
    compress.add_argument("--python", metavar="PATH", help="interpreter that has torch")
    output_format(compress)
