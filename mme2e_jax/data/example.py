"""Reads `tf.train.Example` messages without TensorFlow.

Importing TensorFlow takes four seconds and 400 MB. The message has four types, which are described here from its public
format; their own descriptor pool does not conflict with TensorFlow's, if that is imported too.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tensorflow"


def _example_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package=_PACKAGE, syntax="proto3")

    def message(within: Any, name: str, *fields: tuple[str, int, int, str]) -> Any:
        added = within.add(name=name)
        for field_name, number, label, kind in fields:
            of_message = {"type": field.TYPE_MESSAGE, "type_name": f".{_PACKAGE}.{kind}"}
            kinds = {"bytes": {"type": field.TYPE_BYTES}, "string": {"type": field.TYPE_STRING}}
            added.field.add(name=field_name, number=number, label=label, **kinds.get(kind, of_message))
        return added

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message(file.message_type, "BytesList", ("value", 1, many, "bytes"))
    # Lists of numbers are not read.
    message(file.message_type, "Feature", ("bytes_list", 1, one, "BytesList"))
    features = message(file.message_type, "Features", ("feature", 1, many, "Features.FeatureEntry"))
    entry = message(features.nested_type, "FeatureEntry", ("key", 1, one, "string"), ("value", 2, one, "Feature"))
    entry.options.map_entry = True
    message(file.message_type, "Example", ("features", 1, one, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


_Example = _example_class()


def parse_example(serialized: bytes) -> Any:
    """The features of a message by name; each has `bytes_list.value`.

    Raises:
      google.protobuf.message.DecodeError: if the bytes are no such message.
    """
    return _Example.FromString(serialized).features.feature
