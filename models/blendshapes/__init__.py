"""The blendshapes' network: eyes, brows and mouth from three small views of themselves.

In the regressor's crop an eye is 17 px wide and a mouth 33, and its features keep little of where
things are: its gaze erred by 13.2 degrees where a constant errs by 13.4, its brows and most of its
mouth correlated with the truth by 0.1 to 0.3. The views (``models/face/views.py``) are cut from the
picture, 64 x 48 px each, where the regressor says that eyes and mouth are. Gaze is taken from here
alone; the rest is mixed with what the regressor says (``stream/blendshapes.py``). Of faces turned
by at most 45 degrees:

==========================================================  ============  ============
measured on                                                 without       with it
==========================================================  ============  ============
rendered people of 85 px: mean correlation, 52 blendshapes  0.27          0.45
of brows                                                    0.24          0.48
of jawOpen                                                  0.70          0.77
of mouthFunnel                                              0.32          0.64
of mouthSmile                                               0.66          0.76
landmarks that they move, mm (no expression: 2.98)          1.99          1.67
gaze, degrees (a constant 13.4)                             13.2          7.2
closed eyes at 0.5: recall, precision                       0.67, 0.75    0.78, 0.80
closed eyes: area under the ROC curve                       0.906         0.939
both eyes of a wink right at 0.5                            0.35          0.60
helen, dlib, even lines: landmarks of the mouth             3.40 %        3.2 %
the same: opening of the lips, correlation with the truth   0.67          0.82
closed eyes of helen's even lines: area under the curve     0.96          0.99
the same: told at 0.5, of six                               5             4
==========================================================  ============  ============

Above: the first 960 pictures of the model card's set, on which the shares of both networks were
chosen; the card has all 2,709, and all of the shapes. It is not overfitted (pictures that it
learned from fare as those held out), it is small and has not learned all it could: 2.1 million
pictures in an hour. Much of what is left cannot be seen in one picture: whether a jaw is down
behind closed lips, or a brow up on a head that is not known.

Missing: gaze against real truth, jaws that go sideways or forward (correlation 0.0 to 0.1), puffed
cheeks (0.1), the neutral face of the person.
"""
