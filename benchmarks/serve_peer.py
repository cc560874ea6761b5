"""What people write who serve a transformers pipeline: FastAPI around it.

uvicorn serve_peer:app    # PEER_MODEL is its folder, PEER_DTYPE of its weights
"""

import os

import fastapi
import transformers
from pydantic import BaseModel

transformers.logging.set_verbosity_error()
pipeline = transformers.pipeline(
    "text-classification",
    os.environ["PEER_MODEL"],
    dtype=os.environ["PEER_DTYPE"],
    truncation=True,
)
app = fastapi.FastAPI()


class Request(BaseModel):
    instances: list[str]


@app.post("/predict")
def predict(request: Request):
    return {"predictions": pipeline(request.instances, max_length=128)}
