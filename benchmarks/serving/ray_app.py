"""Ray Serve: batches of up to 64; HAProxy in front where Ray has it."""

import os
import time

import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=int(os.environ["WORKERS"]), max_ongoing_requests=128, ray_actor_options={"num_cpus": 1})
class Digits:
    def __init__(self):
        import known

        self.known = known

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def read(self, images: list[np.ndarray]) -> list[dict]:
        return self.known.answers(np.stack(images))

    async def __call__(self, request: Request) -> dict:
        return await self.read(self.known.decode(await request.body()))


if __name__ == "__main__":
    ray.init("local")  # not a cluster that is there already
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Digits.bind(), route_prefix="/predict")
    while True:
        time.sleep(3600)
