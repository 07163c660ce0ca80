"""MLServer: a custom runtime; the image comes as BYTES of the Open Inference Protocol."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Digits(MLModel):
    async def load(self) -> bool:
        import known

        self.known = known
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        pixels = np.array(payload.inputs[0].data.root, np.float32).reshape(-1, 1, 28, 28) / 255
        digits = np.array([answer["digit"] for answer in self.known.answers(pixels)])
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("digit", digits)])
