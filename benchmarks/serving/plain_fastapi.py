"""The upload app that a tutorial of FastAPI leads to."""

from fastapi import FastAPI, UploadFile
from known import answers, decode

app = FastAPI()


@app.post("/predict")
async def predict(file: UploadFile):
    return answers(decode(await file.read())[None])[0]
