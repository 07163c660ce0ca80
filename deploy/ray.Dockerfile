# syntax=docker/dockerfile:1
# A node of a Ray cluster that reads digits: docker build -f deploy/ray.Dockerfile -t inkdigits-ray .
# Ray's own image has Python, Ray and what KubeRay starts; the version of Ray is the same in every node.
FROM rayproject/ray:2.60.0-py311-cpu
RUN --mount=type=bind,target=/tmp/inkdigits,rw \
    pip install --no-cache-dir "/tmp/inkdigits[ray]" "ray==2.60.0"
ENV RAY_USAGE_STATS_ENABLED=0
