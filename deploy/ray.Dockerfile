# syntax=docker/dockerfile:1.24.0@sha256:87999aa3d42bdc6bea60565083ee17e86d1f3339802f543c0d03998580f9cb89
# A node of a Ray cluster that reads digits: docker build -f deploy/ray.Dockerfile -t inkdigits-ray .
# Ray's own image has Python, Ray and what KubeRay starts; the version of Ray is the same in every node.
FROM rayproject/ray:2.60.0-py311-cpu
RUN --mount=type=bind,target=/tmp/inkdigits,rw \
    pip install --no-cache-dir "/tmp/inkdigits[ray]" "ray==2.60.0"
# Even with its usage statistics off, Ray tells its makers of each cluster that they are off, and asks the metadata
# services of clouds which of them it runs on, unless it finds a configuration.
ENV ORT_DISABLE_TELEMETRY=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9
RUN echo '{}' > /home/ray/ray_bootstrap_config.yaml
