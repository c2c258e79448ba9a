"""A tiny TensorBoard event file, written by TensorBoard's own record writer. `pip install tensorboard; python make.py`"""
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

values = [Summary.Value(tag="train/loss", simple_value=0.6931472), Summary.Value(tag="epoch", simple_value=0.0)]
events = [
    Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    Event(wall_time=1700000001.5, summary=Summary(value=values)),
    Event(wall_time=1700000002.5, step=300, summary=Summary(value=[Summary.Value(tag="nàme", simple_value=float("-inf"))])),
    Event(wall_time=1700000003.0, step=301, session_log=SessionLog(status=SessionLog.START)),
]
with open(Path(__file__).with_name("events.tfevents"), "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
