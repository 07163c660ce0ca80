# syntax=docker/dockerfile:1.24.0@sha256:87999aa3d42bdc6bea60565083ee17e86d1f3339802f543c0d03998580f9cb89
# Learns from corrections, now and then: docker build -f deploy/learn.Dockerfile -t inkdigits-learn .
# It has PyTorch, which the image of the service does not.
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
RUN groupadd --system --gid 10001 inkdigits \
 && useradd --system --uid 10001 --gid inkdigits --no-create-home --shell /usr/sbin/nologin inkdigits
# The release of PyTorch is that of deploy/train-constraints.txt. The one for processors alone comes from its own index: the one on PyPI brings gigabytes of CUDA.
RUN --mount=type=bind,target=/tmp/inkdigits,rw \
    pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
      "/tmp/inkdigits[train,feedback]" "torch==2.13.0"
ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001
CMD ["inkdigits", "learn"]
