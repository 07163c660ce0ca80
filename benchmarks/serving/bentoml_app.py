"""BentoML: a batchable endpoint."""

import os

import bentoml
import numpy as np
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def predict(request):
    image = known_module().decode(await request.body())
    [answer] = await bentoml.get_current_service().to_async.read(np.stack([image]))
    return JSONResponse(answer)


def known_module():
    import known

    return known


@bentoml.service(workers=int(os.environ["WORKERS"]))
@bentoml.asgi_app(Starlette(routes=[Route("/predict", predict, methods=["POST"])]))
class Digits:
    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=50, route="/read")
    def read(self, images: np.ndarray) -> list[dict]:
        return known_module().answers(images)
