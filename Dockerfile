# softseg as an image:
#   docker build -t softseg .
#   docker run --rm -v IN:/data:ro -v OUT:/out softseg /data /out participant
#
# For x86-64 only: of the CPU wheels of torch, requirements/torch.txt has the hash of that one. On ARM
# pip refuses another wheel and the build ends; install with pip there.
#
# TORCH_INDEX   the index that torch comes from; PyTorch's own for CPUs unless told otherwise.
#               Empty: PyPI, whose torch brings CUDA (an image of several GB, for `--gpus all`).
# SOURCE, REVISION   where the code lives, and its commit; only for the labels.

FROM debian:bookworm-slim AS build
# The newest of Debian's stable packages are the tested ones; old versions leave its mirrors.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
# pip stays outside of what the image gets.
RUN python3 -m venv --without-pip /opt/softseg
ENV PIP_PYTHON=/opt/softseg/bin/python \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /build
COPY requirements/*.txt requirements/
COPY container/install.sh container/
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN sh container/install.sh packages
COPY pyproject.toml version README.md LICENSE ./
COPY softseg_bids softseg_bids
RUN sh container/install.sh app

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home softseg \
 && chmod 1777 /home/softseg
COPY --from=build /opt/softseg /opt/softseg
COPY run.py version LICENSE /

# A test compares this with the file `version`.
ARG VERSION=0.1.0
ARG SOURCE=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="softseg" \
      org.opencontainers.image.description="Contrast-agnostic soft segmentation of the spinal cord" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$REVISION"

# The app itself moves caches and temporary files into OUTPUT_DIR where these cannot be written.
ENV PATH=/opt/softseg/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/softseg \
    LANG=C.UTF-8 \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    MPLBACKEND=Agg \
    SOFTSEG_CONTAINER_TAG=softseg:$VERSION
USER 1000:1000
# -I: no Python of the machine outside leaks in by PYTHONPATH or the working directory.
ENTRYPOINT ["/opt/softseg/bin/python", "-I", "-B", "/run.py"]
CMD ["--help"]
