"""LitServe: batches of up to 64, for which it waits 2 ms."""

import os

import litserve
import numpy as np
from fastapi import Request


class Digits(litserve.LitAPI):
    def setup(self, device):
        import known

        self.known = known

    async def decode_request(self, request: Request):
        return self.known.decode(await request.body())

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, images):
        return self.known.answers(images)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    api = Digits(max_batch_size=64, batch_timeout=0.002, api_path="/predict", enable_async=False)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]))
    server.run(port=int(os.environ["PORT"]), generate_client_file=False)
