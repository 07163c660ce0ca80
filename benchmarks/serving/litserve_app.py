"""LitServe: batches of up to 64, for which it waits 2 ms.

It takes no raw body: images come as base64 in JSON, as in its own examples.
"""

import os
from base64 import b64decode

import litserve
import numpy as np


class Digits(litserve.LitAPI):
    def setup(self, device):
        import known

        self.known = known

    def decode_request(self, request):
        return self.known.decode(b64decode(request["image"]))

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, images):
        return self.known.answers(images)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    api = Digits(max_batch_size=64, batch_timeout=0.002, api_path="/predict")
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
        fast_queue=bool(os.environ.get("FAST_QUEUE")),  # ZeroMQ between its processes
    )
    server.run(port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
