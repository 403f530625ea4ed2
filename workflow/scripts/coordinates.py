from pathlib import Path

from cytopipe import coordinates, logs
from cytopipe.study.config import Coordinates

logs.to(snakemake.log[0])
chains = [Path(path) for path in snakemake.input.chains]
coordinates.run(
    brain=snakemake.wildcards.brain,
    image_right=snakemake.params.image_right,
    midlines=[Path(path) for path in snakemake.input.midlines],
    stack=Path(snakemake.input.stack),
    tissue=Path(snakemake.input.tissue),
    template_name=snakemake.params.template_name,
    template=Path(snakemake.input.template),
    atlas=Path(snakemake.input.atlas) if snakemake.input.atlas else None,
    areas=Path(snakemake.input.areas) if snakemake.input.areas else None,
    given=Path(str(snakemake.input.given)) if snakemake.input.given else None,
    chains=chains[0] if chains else None,
    chain_files=chains[1:],
    target=Path(str(snakemake.input.target)) if snakemake.input.target else None,
    transform=Path(snakemake.output.transform),
    affine=Path(snakemake.output.affine),
    checks=Path(snakemake.output.checks),
    points=Path(snakemake.output.points),
    params=Coordinates(**snakemake.params.coordinates),
)
