"""Rules by which the public evaluation kits score an answer, written anew and checked against the kits."""
